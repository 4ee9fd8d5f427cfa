// Memory that belongs to one owner: anonymous pages, huge where the kernel gives them, touched on first use.
#pragma once

#include <cstddef>
#include <string>

namespace ktd {

class Memory {
 public:
  Memory() = default;
  // Throws EngineError naming `what` and the bytes when the system refuses.
  Memory(size_t bytes, const std::string& what);
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Cuts one block into aligned arrays. Without a base it only counts, so that size and layout come from one
// place.
class Carver {
 public:
  explicit Carver(std::byte* base = nullptr) : base_(base) {}

  template <class T>
  T* take(size_t count) {
    std::byte* at = base_ ? base_ + used_ : nullptr;
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(at);
  }
  size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

}  // namespace ktd
