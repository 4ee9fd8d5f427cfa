// A team: the neighbouring threads that share a row; a power of two, at most a block.
#pragma once

#include "simt.cuh"

namespace ktd {

constexpr int kThreads = 128;  // of a block of all products
constexpr int kBlocks =
    4;  // that a multiprocessor shall hold at least: up to 128 registers a thread, so no spills

struct Team {
  int lanes;  // the same in all threads of the grid

  DEVICE int lane() const { return static_cast<int>(threadIdx.x) % lanes; }
  DEVICE int index() const { return static_cast<int>(threadIdx.x) / lanes; }
  DEVICE int count() const { return kThreads / lanes; }

  // In every thread of the team; called by the whole block. The order of additions depends on `lanes` alone.
  DEVICE float sum(float value) const {
    __shared__ float warps[kThreads / 32];
    value = sum_of_lanes(value, lanes < 32 ? lanes : 32);
    if (lanes <= 32) return value;
    __syncthreads();
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    const int first = index() * (lanes / 32);
    value = 0.0f;
    for (int i = 0; i < lanes / 32; ++i) value += warps[first + i];
    return value;
  }
};

}  // namespace ktd
