// As much of cuSOLVER as CUDAContext.h names.
#pragma once
#include "cusolver_common.h"
typedef struct cusolverDnContext* cusolverDnHandle_t;
