// As much of gloo as ProcessGroupGloo.hpp names.
#pragma once
namespace gloo::transport {
class Device;
class UnboundBuffer;
}  // namespace gloo::transport
