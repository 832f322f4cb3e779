// The parts of cuSOLVER that CUDAContext.h uses.
#pragma once
enum cusolverStatus_t : unsigned { CUSOLVER_STATUS_SUCCESS = 0 };
