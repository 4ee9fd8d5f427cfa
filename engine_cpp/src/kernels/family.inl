// What every family of quantised types is made from, and how its file defines their matmuls:
// KTD_TURNED(type) by its Format, KTD_DECODED(type) by the scalar reference.
// clang-format off
#include "kernels/isa.h"
#include "kernels/matmuls.h"
#include "kernels/simd/simd.h"
#include "quant/activation.h"
#include "quant/ref/decode.h"
#include "kernels/tiles.inl"
#include "kernels/decoded.inl"
#ifdef KTD_BYTES
#include "kernels/turned.inl"
#endif
#ifdef KTD_PANELS
#include "kernels/panels.h"
#include "kernels/decoded_panels.inl"
#include "kernels/turned_panels.inl"
#endif
// clang-format on

#ifdef KTD_PANELS
#define KTD_MATMUL(type, few, pack)     \
  void matmul_##type(const Matmul& m) { \
    matmul_few_or_many(m, few, pack);   \
  }
#else
#define KTD_MATMUL(type, few, pack)     \
  void matmul_##type(const Matmul& m) { \
    few(m);                             \
  }
#endif

#define KTD_DECODED(type) KTD_MATMUL(type, matmul_decoded<Block##type>, pack_decoded<Block##type>)
#ifdef KTD_BYTES
#define KTD_TURNED(type) KTD_MATMUL(type, matmul<TurnedRows<Format##type>>, pack_turned<Format##type>)
#else
#define KTD_TURNED(type) KTD_DECODED(type)
#endif
