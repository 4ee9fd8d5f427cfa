// Multiplications in registers alone, in the instructions of one ISA: CMake compiles this file once per row
// of its ISA list.
#include "kernels/peak.h"

#include "kernels/simd/simd.h"

namespace ktd::KTD_ISA {
namespace {

constexpr int kSums = 12;  // enough to hide the latency of a product, few enough for sixteen registers

int64_t multiply_floats(int64_t rounds, float* sink) {
  const F a = load(sink), b = set(0.5f);
  F sums[kSums];
  unroll<kSums>([&](auto i) KTD_INLINE { sums[i.value] = a; });
  for (int64_t r = 0; r < rounds; ++r)
    unroll<kSums>([&](auto i) KTD_INLINE { sums[i.value] = fma(sums[i.value], b, a); });
  unroll<kSums>([&](auto i) KTD_INLINE { store(sink, load(sink) + sums[i.value]); });
  return rounds * kSums * kF;
}

#ifdef KTD_PANELS
int64_t multiply_bytes(int64_t rounds, float* sink) {
  const Bytes w = load_bytes(sink);
  int8_t act[4 * kSums];
  __builtin_memcpy(act, sink, sizeof act);
  I sums[kSums];
  unroll<kSums>([&](auto i) KTD_INLINE { sums[i.value] = I{}; });
  for (int64_t r = 0; r < rounds; ++r)
    unroll<kSums>([&](auto i) KTD_INLINE { sums[i.value] = dot_rows(sums[i.value], w, act + 4 * i.value); });
  unroll<kSums>([&](auto i) KTD_INLINE { store(sink, load(sink) + to_float(sums[i.value])); });
  return rounds * kSums * 4 * kF;
}
#else
int64_t multiply_bytes(int64_t rounds, float* sink) {
  return multiply_floats(rounds, sink);
}
#endif

}  // namespace

extern const PeakKernels kPeak;
constinit const PeakKernels kPeak{multiply_floats, multiply_bytes};

}  // namespace ktd::KTD_ISA
