#include "base/memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace ktd {

Memory::Memory(size_t bytes, const std::string& what) : bytes_(bytes) {
  if (bytes == 0) return;
  void* got =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED)
    throw EngineError("no memory for " + what + ": " + std::to_string(bytes) + " bytes (" +
                      std::strerror(errno) + ")");
  madvise(got, bytes, MADV_HUGEPAGE);  // a wish: 4 KiB pages only cost speed
  data_ = static_cast<std::byte*>(got);
}

Memory::~Memory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace ktd
