#include "kernels/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "machine/machine.h"

namespace ktd {
namespace {

constexpr int64_t kRounds = 1 << 20;
constexpr int kPasses = 5;
constexpr int64_t kLanes = 64;

// Products per second of all threads together: the best of some passes.
double rate(Machine& machine, int64_t (*multiply)(int64_t, float*)) {
  std::vector<float> sinks(machine.pool.size() * kLanes, 1e-3f);
  double best = 0;
  machine.pool.run([&](Team& team) {
    for (int pass = 0; pass < kPasses; ++pass) {
      const auto start = std::chrono::steady_clock::now();
      int64_t products = 0;
      team.each(team.size(), [&](int64_t i) { products = multiply(kRounds, sinks.data() + i * kLanes); });
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      if (team.rank() == 0 && products > 0)
        best = std::max(best, static_cast<double>(products * team.size()) / took.count());
    }
  });
  return best;
}

}  // namespace

Peak multiplication_peak(Machine& machine) {
  const PeakKernels& kernels = peak_kernels(machine.kernels.isa);
  return {.floats = rate(machine, kernels.floats), .bytes = rate(machine, kernels.bytes)};
}

}  // namespace ktd
