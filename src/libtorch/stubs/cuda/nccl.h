// The parts of NCCL 2.28.9 that ProcessGroupNCCL.hpp uses. libtorch 2.11.0 is built with that
// version, and the version number decides which members its classes have. Sizes are NCCL's; nothing
// here is called.
#pragma once
#include <cstddef>
#define NCCL_VERSION(major, minor, patch) ((major)*10000 + (minor)*100 + (patch))
#define NCCL_VERSION_CODE NCCL_VERSION(2, 28, 9)
#define NCCL_SPLIT_NOCOLOR (-1)
#define NCCL_CONFIG_INITIALIZER {}
struct alignas(8) ncclConfig_t {
  char bytes[80];
};
struct ncclUniqueId {
  char internal[128];
};
typedef struct ncclComm* ncclComm_t;
typedef struct ncclWindow_vidmem* ncclWindow_t;
enum ncclResult_t : unsigned { ncclSuccess = 0, ncclRemoteError = 6, ncclInProgress = 7 };
enum ncclRedOp_t : unsigned { ncclSum = 0 };
enum ncclDataType_t : unsigned {
  ncclInt8 = 0, ncclUint8 = 1, ncclInt32 = 2, ncclInt64 = 4, ncclHalf = 6, ncclFloat = 7,
  ncclDouble = 8, ncclBfloat16 = 9, ncclFloat8e4m3 = 10, ncclFloat8e5m2 = 11
};
extern "C" ncclResult_t ncclRedOpDestroy(ncclRedOp_t op, ncclComm_t comm);
