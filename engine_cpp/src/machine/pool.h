// A team of pinned threads that walk one program together, phase by phase.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "machine/topology.h"

namespace ktd {

// Where threads meet: they spin shortly, then sleep in the kernel.
class Barrier {
 public:
  explicit Barrier(int size) : size_(size) {}

  // The last to arrive runs `before_release` while all others still wait.
  template <class F>
  void arrive(F&& before_release) {
    const uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < size_) return wait(phase);
    before_release();
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    phase_.notify_all();
  }

 private:
  void wait(uint32_t phase) const;

  const int size_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
};

// How many items of a member's share are taken, in a cache line of its own.
struct alignas(64) Taken {
  std::atomic<int64_t> items{0};
};

// What the threads of a team share while a program runs.
struct Meeting {
  explicit Meeting(int size) : barrier(size), taken(size) {}
  Barrier barrier;
  std::vector<Taken> taken;  // of each member, in the running phase
};

// One thread's view of its team. Every member must call the same phases in the same order.
class Team {
 public:
  Team(Meeting& meeting, int rank, int size) : meeting_(meeting), rank_(rank), size_(size) {}

  int rank() const { return rank_; }
  int size() const { return size_; }

  // A phase: `work(i)` for every i in [0, n); all wait for its end. A member walks its own share in order, so
  // that what it reads lies together, and then helps the others with theirs.
  template <class F>
  void each(int64_t n, F&& work) {
    for (int turn = 0; turn < size_; ++turn) {
      const int member = (rank_ + turn) % size_;
      const int64_t first = n * member / size_, count = n * (member + 1) / size_ - first;
      for (int64_t i = take(member, count); i < count; i = take(member, count)) work(first + i);
    }
    finish();
  }

  // A phase that one member does while the others wait.
  template <class F>
  void once(F&& work) {
    if (rank_ == 0) work();
    finish();
  }

 private:
  int64_t take(int member, int64_t count) {
    auto& items = meeting_.taken[member].items;
    if (items.load(std::memory_order_relaxed) >= count) return count;  // to look disturbs nobody
    return items.fetch_add(1, std::memory_order_relaxed);
  }
  void finish() {
    meeting_.barrier.arrive([this] {
      for (auto& taken : meeting_.taken) taken.items.store(0, std::memory_order_relaxed);
    });
  }

  Meeting& meeting_;
  const int rank_;
  const int size_;
};

// Persistent threads, one per core; the calling thread is member 0. Programs must not throw.
class Pool {
 public:
  Pool(const Topology& topology, int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int size() const { return size_; }
  void run(const std::function<void(Team&)>& program);

 private:
  void serve(int rank, int cpu);

  const int size_;
  Meeting meeting_;
  const std::function<void(Team&)>* program_ = nullptr;
  bool stopping_ = false;
  alignas(64) std::atomic<uint32_t> order_{0};
  std::vector<std::thread> threads_;
};

}  // namespace ktd
