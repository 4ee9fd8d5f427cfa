// What every family of quantised types is made from, and KTD_TURNED(type), which defines a matmul by its
// Format; an ISA without products of bytes decodes by the scalar reference instead.
// clang-format off
#include "kernels/isa.h"
#include "kernels/matmuls.h"
#include "kernels/simd/simd.h"
#include "quant/activation.h"
#include "quant/ref/decode.h"
#include "kernels/tiles.inl"
#ifdef KTD_BYTES
#include "kernels/turned.inl"
#else
#include "kernels/decoded.inl"
#endif
#ifdef KTD_PANELS
#include "kernels/panels.h"
#include "kernels/turned_panels.inl"
#endif
// clang-format on

#if defined(KTD_PANELS)
#define KTD_TURNED(type)                                                                \
  void matmul_##type(const Matmul& m) {                                                 \
    matmul_few_or_many(m, matmul<TurnedRows<Format##type>>, pack_turned<Format##type>); \
  }
#elif defined(KTD_BYTES)
#define KTD_TURNED(type)                 \
  void matmul_##type(const Matmul& m) {  \
    matmul<TurnedRows<Format##type>>(m); \
  }
#else
#define KTD_TURNED(type)                \
  void matmul_##type(const Matmul& m) { \
    matmul_decoded<Block##type>(m);     \
  }
#endif
