// As much of cuSPARSE as CUDAContext.h names.
#pragma once
typedef struct cusparseContext* cusparseHandle_t;
enum cusparseStatus_t : unsigned { CUSPARSE_STATUS_SUCCESS = 0 };
