// ProcessGroupGloo.hpp asks for this file; libtorch's wheel does not carry gloo's headers.
#pragma once
