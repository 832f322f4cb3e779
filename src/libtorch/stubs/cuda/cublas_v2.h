// The parts of cuBLAS that CUDAContext.h uses.
#pragma once
typedef struct cublasContext* cublasHandle_t;
enum cublasStatus_t : unsigned { CUBLAS_STATUS_SUCCESS = 0 };
