// The parts of cuBLASLt that CUDAContext.h uses.
#pragma once
typedef struct cublasLtContext* cublasLtHandle_t;
