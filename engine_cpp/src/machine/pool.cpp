#include "machine/pool.h"

#include <pthread.h>
#include <sched.h>

namespace ktd {
namespace {

// Long enough to bridge a phase or the gap between two decode steps, short enough to cost nothing when idle.
constexpr int kSpins = 4000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint32_t wait_while_equal(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    const uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);  // best effort: a refused pin only costs speed
}

}  // namespace

void Barrier::wait(uint32_t phase) const {
  wait_while_equal(phase_, phase);
}

Pool::Pool(const Topology& topology, int threads) : size_(threads), meeting_(threads) {
  const bool one_each = threads <= static_cast<int>(topology.cores.size());
  for (int rank = 1; rank < threads; ++rank)
    threads_.emplace_back([this, rank, cpu = one_each ? topology.cores[rank].cpu : -1] { serve(rank, cpu); });
}

Pool::~Pool() {
  stopping_ = true;
  order_.fetch_add(1, std::memory_order_release);
  order_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Pool::run(const std::function<void(Team&)>& program) {
  program_ = &program;
  order_.fetch_add(1, std::memory_order_release);
  order_.notify_all();
  Team team(meeting_, 0, size_);
  program(team);
  team.once([] {});  // nobody may still be inside the program when it goes out of scope
}

void Pool::serve(int rank, int cpu) {
  if (cpu >= 0) pin(cpu);
  for (uint32_t seen = 0;;) {
    seen = wait_while_equal(order_, seen);
    if (stopping_) return;
    Team team(meeting_, rank, size_);
    (*program_)(team);
    team.once([] {});
  }
}

}  // namespace ktd
