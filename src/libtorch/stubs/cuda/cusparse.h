// The parts of cuSPARSE that CUDAContext.h uses.
#pragma once
typedef struct cusparseContext* cusparseHandle_t;
enum cusparseStatus_t : unsigned { CUSPARSE_STATUS_SUCCESS = 0 };
