// As much of cuBLAS as CUDAContext.h names.
#pragma once
typedef struct cublasContext* cublasHandle_t;
enum cublasStatus_t : unsigned { CUBLAS_STATUS_SUCCESS = 0 };
