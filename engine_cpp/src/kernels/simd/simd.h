// The small vector vocabulary that every kernel is written in. Each ISA has a header that says these words in
// its own instructions; the file is compiled once per ISA, and only here is it asked which.
//
//   F, I            kF floats, kF int32
//   Bytes           4 kF bytes: kBlocks blocks of 32
//   dot(w, act)     int32 lanes, each the sum of four products; unsigned bytes (or prepared signed ones) by
//                   signed activations in [-127, 127]
//   blocks32        kBlocks blocks of 32 bytes, `stride` bytes apart; stride 0 repeats the first
//   nibbles16       kBlocks blocks of 16 bytes, each made 32: its low nibbles, then its high ones
//   halves          kBlocks halves, `stride` bytes apart, each over the lanes of its block
//   per_block       kBlocks floats, each over the lanes of its block
//   first_block     the lanes of the first block, zero elsewhere
//   Eight, Sixteen  one float per 32 and per 16 weights of a super-block of 256
//   eight, twice    8 unsigned bytes (or an Eight) as an Eight; as a Sixteen, each twice
//   subtract        acc - a * b, somewhere in its lanes
//   spread32<V>     the factors of the V-th Bytes of a super-block, over its lanes
//   nibbles256      a super-block of nibbles; those of odd blocks come out 1 / nibble_units() times as large
//   sixbits256      a super-block of six-bit weights, 0 to 63
//   dot_rows, turn  words of panels.inl, where KTD_PANELS says that there are any
//   kAccumulators   how many sums stay in registers; kTokenTile: tokens that share an unpacked weight
#pragma once

#include <cstddef>
#include <cstdint>

#define KTD_WORD [[gnu::always_inline, maybe_unused]] static inline

#if defined(KTD_ISA_avx512)
#define KTD_PANELS
#include "kernels/simd/avx512.h"
#include "kernels/simd/avx512_panels.h"
#elif defined(KTD_ISA_avx2)
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

}  // namespace
}  // namespace ktd::KTD_ISA
