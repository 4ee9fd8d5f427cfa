// The time of one thread's work, so that other work on the machine disturbs less.
#pragma once

#include <algorithm>
#include <ctime>

namespace ktd {

inline double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The best of some rounds of `work`, each repeated until it lasts.
template <class Work>
double best_seconds(int rounds, Work work) {
  constexpr double kLasts = 0.003;
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    int repeats = 0;
    const double start = cpu_seconds();
    do {
      work();
      ++repeats;
    } while (cpu_seconds() - start < kLasts);
    best = std::min(best, (cpu_seconds() - start) / repeats);
  }
  return best;
}

}  // namespace ktd
