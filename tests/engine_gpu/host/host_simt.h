// CUDA's words for a CPU: the same kernel sources, compiled by the host's C++ compiler, run with a fibre per
// thread.
//
// The threads of a block take turns: one runs until it waits for the others (a barrier, or a shuffle with its
// warp), then the next runs. Blocks run one after another, so a kernel that needs a particular order of
// threads between barriers is not helped by this one, and a thread that never reaches a barrier of its block
// is an error.
#pragma once

#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __shared__ static  // blocks run one after another
#define __launch_bounds__(...)
#define DEVICE inline

struct dim3 {
  unsigned x, y, z;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace ktd {

constexpr unsigned kAllLanes = 0xffffffffu;

namespace host {

constexpr size_t kStack = 64 << 10;
constexpr unsigned kWarp = 32;

// Threads that meet: what each brought, and how many times all have met.
struct Meeting {
  unsigned size = 0;
  unsigned arrived = 0;
  uint64_t round = 0;
  uint32_t words[2][kWarp][8];  // by round, lane
};

struct Fibre {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done = false;
};

struct Block {
  std::vector<Fibre> fibres;
  std::vector<Meeting> warps;
  Meeting all;
  ucontext_t scheduler;
  unsigned current = 0;
  uint64_t moves = 0;  // arrivals at meetings, and ends
  std::function<void()> body;
};

inline Block block;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "host_simt: block %u %u %u, thread %u: %s\n", blockIdx.x, blockIdx.y, blockIdx.z,
               threadIdx.x, what);
  std::abort();
}

inline void switch_to_scheduler() {
  swapcontext(&block.fibres[block.current].context, &block.scheduler);
}

// Waits until all of a meeting are here. Returns the round that they met in.
inline uint64_t meet(Meeting& meeting) {
  const uint64_t round = meeting.round;
  ++block.moves;
  if (++meeting.arrived == meeting.size) {
    meeting.arrived = 0;
    ++meeting.round;
  }
  while (meeting.round == round) switch_to_scheduler();
  return round;
}

// What this lane brings, seen by all lanes of the warp once all have brought theirs. Two rounds of room: a
// lane that is late to read still finds the words of its round, as the next one cannot end without it.
template <int kWords>
const uint32_t (*exchange(const uint32_t (&mine)[kWords]))[8] {
  Meeting& warp = block.warps[threadIdx.x / kWarp];
  std::memcpy(warp.words[warp.round % 2][threadIdx.x % kWarp], mine, sizeof mine);
  return warp.words[meet(warp) % 2];
}

inline void run_fibre() {
  block.body();
  block.fibres[block.current].done = true;
  ++block.moves;
  switch_to_scheduler();
}

inline void start(unsigned threads) {
  block.fibres.resize(threads);
  block.warps.assign((threads + kWarp - 1) / kWarp, Meeting{});
  for (unsigned w = 0; w < block.warps.size(); ++w)
    block.warps[w].size = threads - w * kWarp < kWarp ? threads - w * kWarp : kWarp;
  block.all = Meeting{};
  block.all.size = threads;
  for (Fibre& fibre : block.fibres) {
    if (!fibre.stack) fibre.stack = std::make_unique<char[]>(kStack);
    fibre.done = false;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = kStack;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, run_fibre, 0);
  }
}

// Turns until all have ended; a turn in which nobody met and nobody ended will never end.
inline void run_block() {
  uint64_t before = ~uint64_t{0};
  for (;;) {
    unsigned done = 0;
    for (block.current = 0; block.current < block.fibres.size(); ++block.current) {
      threadIdx = {block.current, 0, 0};
      if (!block.fibres[block.current].done)
        swapcontext(&block.scheduler, &block.fibres[block.current].context);
      done += block.fibres[block.current].done;
    }
    if (done == block.fibres.size()) return;
    if (block.moves == before) fail("threads wait for others that have ended or wait elsewhere");
    before = block.moves;
  }
}

template <class... Args, size_t... kIndices>
void launch(void (*kernel)(Args...), dim3 grid, unsigned threads, void** arguments,
            std::index_sequence<kIndices...>) {
  gridDim = grid;
  blockDim = {threads, 1, 1};
  block.body = [&] { kernel(*static_cast<std::remove_cvref_t<Args>*>(arguments[kIndices])...); };
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        start(threads);
        run_block();
      }
}

// Arguments as cuLaunchKernel takes them: a pointer to each.
template <class... Args>
void launch(void (*kernel)(Args...), const unsigned (&grid)[3], unsigned threads, void** arguments) {
  launch(kernel, {grid[0], grid[1], grid[2]}, threads, arguments, std::index_sequence_for<Args...>());
}

}  // namespace host

inline float half_to_float(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                              : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  if (exponent == 31) value = mantissa == 0 ? INFINITY : NAN;
  return (bits & 0x8000) != 0 ? -value : value;
}

inline uint16_t float_to_half(float value) {
  return std::bit_cast<uint16_t>(static_cast<_Float16>(value));
}

}  // namespace ktd

inline void __syncthreads() {
  ktd::host::meet(ktd::host::block.all);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int other) {
  static_assert(sizeof(T) == 4);
  if (mask != ktd::kAllLanes) ktd::host::fail("a shuffle of a part of a warp");
  const auto* words = ktd::host::exchange<1>({std::bit_cast<uint32_t>(value)});
  return std::bit_cast<T>(words[threadIdx.x % 32 ^ other][0]);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
  static_assert(sizeof(T) == 4);
  if (mask != ktd::kAllLanes) ktd::host::fail("a shuffle of a part of a warp");
  const auto* words = ktd::host::exchange<1>({std::bit_cast<uint32_t>(value)});
  return std::bit_cast<T>(words[lane % 32][0]);
}

template <class T>
T __ldg(const T* from) {
  return *from;
}

inline int __dp4a(int a, int b, int sum) {
  for (int shift = 0; shift < 32; shift += 8)
    sum += static_cast<int8_t>(a >> shift) * static_cast<int8_t>(b >> shift);
  return sum;
}

inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = low | static_cast<uint64_t>(high) << 32;
  uint32_t picked = 0;
  for (int i = 0; i < 4; ++i)
    picked |= static_cast<uint32_t>(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
  return picked;
}

inline int __popc(uint32_t bits) {
  return std::popcount(bits);
}

inline float __uint_as_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

inline uint32_t __float_as_uint(float value) {
  return std::bit_cast<uint32_t>(value);
}

inline float __fmul_rn(float a, float b) {
  return a * b;  // built with -ffp-contract=off
}

template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}

template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}

namespace ktd {

// mma.m16n8k16 by the fragments of the PTX manual: with g = lane / 4 and t = lane % 4, a lane holds of a the
// columns 2 t, 2 t + 1 of rows g and g + 8, then those eight columns on; of b the same rows of column g; of d
// the columns 2 t, 2 t + 1 of rows g and g + 8.
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const auto* words = host::exchange<6>({a[0], a[1], a[2], a[3], b[0], b[1]});
  const auto value = [&](int lane, int word, int k) {
    return __uint_as_float((words[lane][word] >> 16 * (k % 2) & 0xffffu) << 16);
  };
  const int g = static_cast<int>(threadIdx.x % 32 / 4), t = static_cast<int>(threadIdx.x % 4);
  for (int i = 0; i < 4; ++i) {
    const int row = g + i / 2 * 8, column = 2 * t + i % 2;
    for (int k = 0; k < 16; ++k)
      d[i] += value(row % 8 * 4 + k % 8 / 2, row / 8 + k / 8 * 2, k) *
              value(column * 4 + k % 8 / 2, 4 + k / 8, k);
  }
}

}  // namespace ktd
