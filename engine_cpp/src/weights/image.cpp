#include "weights/image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/error.h"

namespace ktd {
namespace {

constexpr size_t kPage = 4096;  // what direct reads are aligned to
constexpr size_t kHuge = 2 << 20;
constexpr size_t kProbes = 8;

size_t down(size_t n, size_t to) {
  return n / to * to;
}
size_t up(size_t n, size_t to) {
  return down(n + to - 1, to);
}

// The bytes of a regular file with data; -1 with errno for anything else.
int64_t size_of(int fd) {
  struct stat facts{};
  if (fstat(fd, &facts) != 0) return -1;
  if (S_ISREG(facts.st_mode) && facts.st_size > 0) return facts.st_size;
  errno = EINVAL;
  return -1;
}

// Null with errno where it cannot be mapped.
const std::byte* map_file(int fd, size_t bytes) {
  void* got = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (got == MAP_FAILED) return nullptr;
  madvise(got, bytes, MADV_HUGEPAGE);  // granted by file systems with large folios
  return static_cast<const std::byte*>(got);
}

// What the page cache has of the bytes, in one go; less than asked for where it ends.
ssize_t read_cached(int fd, std::byte* to, size_t bytes, size_t at) {
  const iovec one{to, bytes};
  return preadv2(fd, &one, 1, static_cast<off_t>(at), RWF_NOWAIT);
}

// Kilobytes in huge pages of the mapping that starts at `data`, by the kernel's own account.
size_t huge_kilobytes(const std::byte* data) {
  std::ifstream smaps("/proc/self/smaps");
  std::ostringstream start;
  start << std::hex << reinterpret_cast<uintptr_t>(data) << '-';
  std::string line;
  while (std::getline(smaps, line) && !line.starts_with(start.str())) continue;
  while (std::getline(smaps, line) && line.find("VmFlags") == std::string::npos)
    if (line.starts_with("FilePmdMapped:")) return std::stoul(line.substr(14));
  return 0;
}

}  // namespace

Image::Image(const std::string& path, Residence residence) : path_(path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int64_t bytes = fd >= 0 ? size_of(fd) : -1;
  if (bytes > 0) {
    bytes_ = static_cast<size_t>(bytes);
    if (residence == Residence::Mapped)
      mapped_ = map_file(fd, bytes_);
    else
      memory_ = Memory(up(bytes_, kHuge), "the weights of " + path);
  }
  const int why = errno;
  if (residence == Residence::Read && bytes > 0) {
    cached_ = fd;
    direct_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);  // not every file system can: -1
  } else if (fd >= 0) {
    close(fd);
  }
  if (!data()) throw EngineError("cannot read " + path + ": " + std::strerror(why));
}

Image::~Image() {
  if (mapped_) munmap(const_cast<std::byte*>(mapped_), bytes_);
  if (cached_ >= 0) close(cached_);
  if (direct_ >= 0) close(direct_);
}

Image::Image(Image&& other) noexcept
    : path_(std::move(other.path_)),
      bytes_(other.bytes_),
      mapped_(std::exchange(other.mapped_, nullptr)),
      memory_(std::move(other.memory_)),
      cached_(std::exchange(other.cached_, -1)),
      direct_(std::exchange(other.direct_, -1)) {}

bool Image::load(size_t begin, size_t end) const {
  begin = down(begin, kPage);
  end = std::min(up(end, kPage), up(bytes_, kPage));
  return mapped_ ? fault_in(begin, end) : read(begin, end);
}

bool Image::fault_in(size_t begin, size_t end) const {
  if (madvise(const_cast<std::byte*>(mapped_) + begin, end - begin, MADV_POPULATE_READ) == 0) return true;
  if (errno != EINVAL) return false;
  volatile std::byte sink{};  // a kernel before 5.14
  for (size_t at = begin; at < std::min(end, bytes_); at += kPage) sink = mapped_[at];
  static_cast<void>(sink);
  return true;
}

bool Image::read(size_t begin, size_t end) const {
  for (size_t at = begin; at < std::min(end, bytes_);) {
    ssize_t got = read_cached(cached_, memory_.data() + at, end - at, at);
    if (got <= 0) {
      const int fd = direct_ >= 0 && at % kPage == 0 ? direct_ : cached_;
      got = pread(fd, memory_.data() + at, end - at, static_cast<off_t>(at));
    }
    if (got == 0) errno = ENODATA;  // the file became shorter
    if (got == 0 || (got < 0 && errno != EINTR)) return false;
    if (got > 0) at += static_cast<size_t>(got);
  }
  return true;
}

void read_ahead(const std::byte* data, size_t bytes) {
  const auto begin = down(reinterpret_cast<uintptr_t>(data), kPage);
  const auto end = reinterpret_cast<uintptr_t>(data) + bytes;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
}

bool maps_huge(const std::string& path) {
  const Image image(path, Residence::Mapped);
  const size_t step = down(image.bytes() / kProbes, kHuge);
  if (step == 0) return true;  // too small to matter
  for (size_t i = 0; i < kProbes; ++i) image.load(i * step, i * step + 1);
  return huge_kilobytes(image.data()) >= kProbes * 3 / 4 * (kHuge / 1024);
}

}  // namespace ktd
