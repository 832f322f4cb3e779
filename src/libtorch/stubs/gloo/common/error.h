// ProcessGroupGloo.hpp includes this file; libtorch's wheel does not contain gloo's headers.
#pragma once
