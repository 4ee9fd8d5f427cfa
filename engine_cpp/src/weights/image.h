// A file in memory, read-only, every byte at its offset: mapped, or read into memory of our own.
#pragma once

#include <string>

#include "base/memory.h"

namespace ktd {

// Mapped costs nothing twice and can be larger than memory. Read has huge pages whatever the file system
// does.
enum class Residence { Mapped, Read };

class Image {
 public:
  // Throws EngineError naming the file.
  Image(const std::string& path, Residence residence);
  ~Image();
  Image(Image&& other) noexcept;
  Image& operator=(Image&&) = delete;

  const std::byte* data() const { return mapped_ ? mapped_ : memory_.data(); }
  size_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

  // Brings bytes [begin, end) into memory; any threads at once. False with errno where they cannot be had.
  bool load(size_t begin, size_t end) const;

 private:
  bool fault_in(size_t begin, size_t end) const;
  bool read(size_t begin, size_t end) const;

  std::string path_;
  size_t bytes_ = 0;
  const std::byte* mapped_ = nullptr;
  Memory memory_;
  int cached_ = -1, direct_ = -1;  // the file through the page cache, and past it; both only while Read
};

// Asks for bytes that will soon be read; returns at once.
void read_ahead(const std::byte* data, size_t bytes);

// Whether the kernel maps this file in huge pages: tried at some places in it, which are read for that.
bool maps_huge(const std::string& path);

}  // namespace ktd
