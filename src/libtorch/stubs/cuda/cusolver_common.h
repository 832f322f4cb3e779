// As much of cuSOLVER as CUDAContext.h names.
#pragma once
enum cusolverStatus_t : unsigned { CUSOLVER_STATUS_SUCCESS = 0 };
