// The small vector vocabulary that every kernel is written in. Each ISA has a header that says these words in
// its own instructions; the file is compiled once per ISA, and only here is it asked which.
//
//   F, I            kF floats, kF int32
//   kFloatSums      float sums that stay in registers; kTokenTile: tokens that share an unpacked weight
//   store_sums      the sums of four, each as sum() adds them
//   kQueryRows      rows of attention by kKeyVectors vectors: the sums that registers hold
//   turn_floats     kF rows of kF floats, `stride` apart, to as many columns, `apart` floats from each other
//
// Where KTD_BYTES says so, there are products of bytes, in the order of turned.inl:
//   Bytes           4 kF bytes; a column is kHalves of them
//   dot_columns     int32 lanes, each the sums of four products of unsigned bytes and signed activations in
//                   [-127, 127], over some columns
//   Eight, Sixteen  one float per 32 and per 16 of 256 weights
//   eight_halves    eight halves, `stride` bytes apart, as an Eight
//   twice           an Eight, each twice
//   firsts, seconds the floats of even 16s, or of odd ones, for both
//   Numbers         16 small integers, and what x86.h does with them
//   unsigned_floats, signed_floats of Numbers
//   kIntegerSums    as kFloatSums, beside what these products need
//
// Half H of column C of 256 weights, whose blocks of 32 have a quadword each:
//   pairs           quadword C of each 32 bytes, for two blocks
//   fours           the same for four blocks
//   all             the same for all
//   alternate       quadword C of each first and each second 32 of 64 bytes, in turn, twice
//   eights<I>       quadword I of the 16 bytes of each block, `stride` bytes apart
//   quarters        quadword C of the 32 bytes of each block, `stride` bytes apart
//   move<Move>      the bits of block j moved left by Move::by(j), or right where that is negative
//   bits<Mask>      of every byte
//   merge<Mask>     the bits of the second beside the first
//   in_place<Move, Mask>  the bits Mask after a move to the right, up to factors that in_place_scale knows
//   fifth_bits      adds 16 where the bit is set, of 32 in the first word of a quadword
//   raise_signed    signed bytes, raised by kRaisedSigned; dot_columns takes them as kMostSigned
//
// And where KTD_PANELS says so, dot_rows and turn: see panels.inl.
#pragma once

#include <cstddef>
#include <cstdint>

#define KTD_WORD [[gnu::always_inline, maybe_unused]] static inline
// Of a lambda: it must vanish before the compiler looks for arrays to keep in registers.
#define KTD_INLINE __attribute__((always_inline))

#if defined(KTD_ISA_avx512) || defined(KTD_ISA_avx512vbmi)
#define KTD_BYTES
#define KTD_PANELS
#include "kernels/simd/avx512.h"
#include "kernels/simd/avx512_panels.h"
#elif defined(KTD_ISA_avx2)
#define KTD_BYTES
#include "kernels/simd/avx2.h"
#else
#include "kernels/simd/scalar.h"
#endif

namespace ktd::KTD_ISA {
namespace {

constexpr int kBytes = 4 * kF;

template <int N>
struct Constant {
  static constexpr int value = N;
};

// f(Constant<0>), ... f(Constant<N - 1>): a loop whose index can choose an instruction.
template <int N, class Fn>
[[gnu::always_inline]] inline void unroll(Fn&& f) {
  if constexpr (N > 0) {
    unroll<N - 1>(f);
    f(Constant<N - 1>{});
  }
}

// From a place in some rows of a group to the same place in the group that is wanted when a load from memory
// that starts now has ended. It may lie behind the matrix, which harms nothing.
KTD_WORD size_t bytes_ahead(size_t group_bytes) {
  constexpr size_t kLeast = 6 << 10;
  return (kLeast + group_bytes - 1) / group_bytes * group_bytes;
}

// Asks for `N` bytes that will be needed soon.
template <size_t N>
KTD_WORD void prefetch(const std::byte* p) {
  for (size_t i = 0; i < N; i += 64) __builtin_prefetch(p + i, 0, 2);
}

}  // namespace
}  // namespace ktd::KTD_ISA

#ifdef KTD_BYTES
namespace ktd::KTD_ISA {
namespace {

constexpr int kColumns = 4, kHalves = 64 / kBytes;

struct Sixteen {
  F part[kHalves];
};
KTD_WORD Sixteen sixteen(float x) {
  Sixteen same;
  unroll<kHalves>([&](auto h) KTD_INLINE { same.part[h.value] = set(x); });
  return same;
}
KTD_WORD Sixteen operator*(Sixteen a, const Sixteen& b) {
  unroll<kHalves>([&](auto h) KTD_INLINE { a.part[h.value] = a.part[h.value] * b.part[h.value]; });
  return a;
}
KTD_WORD Sixteen operator*(Sixteen a, float b) {
  unroll<kHalves>([&](auto h) KTD_INLINE { a.part[h.value] = a.part[h.value] * set(b); });
  return a;
}

}  // namespace
}  // namespace ktd::KTD_ISA
#endif

#if defined(KTD_ISA_avx2)
#include "kernels/simd/avx2_tables.h"
#include "kernels/simd/avx2_turned.h"
#elif defined(KTD_BYTES)
#include "kernels/simd/avx512_turned.h"
#endif
#if defined(KTD_ISA_avx512vbmi)
#define KTD_VBMI
#include "kernels/simd/avx512_codes.h"
#elif defined(KTD_ISA_avx512)
#include "kernels/simd/avx512_tables.h"
#endif
