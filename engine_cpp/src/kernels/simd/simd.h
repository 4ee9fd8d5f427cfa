// The small vector vocabulary that every kernel is written in. Each ISA has a header that says these words in
// its own instructions; the file is compiled once per ISA, and only here is it asked which.
//
//   F, I            kF floats, kF int32
//   kFloatSums      float sums that stay in registers; kTokenTile: tokens that share an unpacked weight
//
// Where KTD_BYTES says so, there are products of bytes:
//   Bytes           4 kF bytes: kBlocks blocks of 32
//   dot(w, act)     int32 lanes, each the sum of four products; unsigned bytes (or prepared signed ones) by
//                   signed activations in [-127, 127]
//   blocks32        kBlocks blocks of 32 bytes, `stride` bytes apart
//   nibbles16       kBlocks blocks of 16 bytes, each made 32: its low nibbles, then its high ones
//   Eight, Sixteen  one float per 32 and per 16 of 256 weights
//   eight_halves    four and four halves as an Eight; sixteen: 16 signed bytes; twice: an Eight, each twice
//   scales_mins     the scales and minima of a Q4_K block, ready for products with its nibbles
//   subtract        acc - a * b, somewhere in its lanes
//   spread32<V>     the factors of the V-th Bytes of 256 weights, over its lanes; spread16 likewise
//   nibbles<V>      the V-th Bytes of a Q4_K block, up to a factor that scales_mins knows
//   six_bits<V>     the V-th Bytes of a Q6_K block, raised by 32
//   kIntegerSums    as kFloatSums, beside what these products need
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
constexpr int kBlocks = kBytes / 32;

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

// Asks for `N` bytes that will be needed soon.
template <size_t N>
KTD_WORD void prefetch(const std::byte* p) {
  for (size_t i = 0; i < N; i += 64) __builtin_prefetch(p + i, 0, 2);
}

}  // namespace
}  // namespace ktd::KTD_ISA

// And where KTD_TURNED says so, the words of turned.inl.
#if defined(KTD_ISA_avx512vbmi)
#define KTD_TURNED
#include "kernels/simd/avx512_codes.h"
#endif
