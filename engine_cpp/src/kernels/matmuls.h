// The matmul of every quantised type: each ISA defines them in the files of its families.
#pragma once

#include "kernels/table.h"

#define KTD_EACH_QUANTISED(row)                                                                             \
  row(Q4_0) row(Q4_1) row(Q5_0) row(Q5_1) row(Q8_0) row(Q8_1) row(Q2_K) row(Q3_K) row(Q4_K) row(Q5_K)       \
      row(Q6_K) row(Q8_K) row(IQ1_S) row(IQ1_M) row(IQ2_XXS) row(IQ2_XS) row(IQ2_S) row(IQ3_XXS) row(IQ3_S) \
          row(IQ4_NL) row(IQ4_XS) row(MXFP4) row(NVFP4) row(Q1_0) row(Q2_0) row(TQ1_0) row(TQ2_0)

namespace ktd::KTD_ISA {

#define KTD_DECLARE(type) void matmul_##type(const Matmul& m);
KTD_EACH_QUANTISED(KTD_DECLARE)
#undef KTD_DECLARE

}  // namespace ktd::KTD_ISA
