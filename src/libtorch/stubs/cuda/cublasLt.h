// As much of cuBLASLt as CUDAContext.h names.
#pragma once
typedef struct cublasLtContext* cublasLtHandle_t;
