#include "weights/weights.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace ktd {
namespace {

// Elements of a shape, or an error: no dimension below 1, no product that overflows.
int64_t elements(const TensorPlace& place) {
  int64_t total = 1;
  for (int64_t dim : place.shape)
    if (dim < 1 || __builtin_mul_overflow(total, dim, &total))
      throw EngineError("tensor " + place.name + ": dimension " + std::to_string(dim) + " is out of range");
  return total;
}

Tensor checked(const TensorPlace& place, const std::vector<Mapping>& mappings) {
  const TypeTraits* traits = find_traits(place.type);
  if (traits == nullptr)
    throw EngineError("tensor " + place.name + ": type " + std::to_string(place.type) +
                      " is not a known GGUF type");
  if (place.shape.empty() || place.shape.front() % traits->block != 0)
    throw EngineError("tensor " + place.name + ": rows are not whole blocks of " +
                      std::to_string(traits->block) + " weights (" + traits->name + ")");
  if (place.file >= mappings.size())
    throw EngineError("tensor " + place.name + ": there is no file " + std::to_string(place.file));
  const size_t bytes = static_cast<size_t>(elements(place) / traits->block) * traits->bytes;
  const size_t size = mappings[place.file].bytes();
  if (place.offset > size || bytes > size - place.offset)
    throw EngineError("tensor " + place.name + ": needs bytes " + std::to_string(place.offset) + " to " +
                      std::to_string(place.offset + bytes) + " of a file of " + std::to_string(size));
  return {place.name, traits, place.shape, mappings[place.file].data() + place.offset, bytes};
}

}  // namespace

Mapping::Mapping(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat facts{};
  const bool usable = fd >= 0 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size > 0;
  void* got = usable ? mmap(nullptr, facts.st_size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  const int why = errno;
  if (fd >= 0) close(fd);
  if (got == MAP_FAILED)
    throw EngineError("cannot map " + path + ": " +
                      (fd < 0 || usable ? std::strerror(why) : "not a file with data"));
  data_ = static_cast<const std::byte*>(got);
  bytes_ = static_cast<size_t>(facts.st_size);
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), bytes_);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Weights::Weights(const std::vector<std::string>& files, const std::vector<TensorPlace>& places) {
  mappings_.reserve(files.size());
  for (const auto& file : files) mappings_.emplace_back(file);
  for (const auto& place : places) {
    tensors_.push_back(checked(place, mappings_));
    bytes_ += tensors_.back().bytes;
    if (!by_name_.emplace(place.name, tensors_.size() - 1).second)
      throw EngineError("tensor " + place.name + " is there twice");
  }
}

const Tensor& Weights::at(const std::string& name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) throw EngineError("tensor " + name + " is missing");
  return tensors_[found->second];
}

void Weights::populate(size_t begin, size_t length) const {
  static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t start = 0;  // of the tensor at hand, counted through all of them
  for (const auto& tensor : tensors_) {
    const size_t from = std::max(begin, start), to = std::min(begin + length, start + tensor.bytes);
    if (from < to) {
      const auto address = reinterpret_cast<uintptr_t>(tensor.data + (from - start));
      const uintptr_t aligned = address / page * page;
      madvise(reinterpret_cast<void*>(aligned), address - aligned + (to - from), MADV_WILLNEED);
      volatile std::byte sink{};
      for (uintptr_t at = aligned; at < address + (to - from); at += page)
        sink = *reinterpret_cast<const std::byte*>(std::max(at, address));
      static_cast<void>(sink);
    }
    start += tensor.bytes;
  }
}

}  // namespace ktd
