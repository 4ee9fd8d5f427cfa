#include "weights/weights.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace ktd {
namespace {

constexpr size_t kPiece = 4 << 20;  // bytes that one thread reads at a time

// Elements of a shape, or an error: no dimension below 1, no product that overflows.
int64_t elements(const TensorPlace& place) {
  int64_t total = 1;
  for (int64_t dim : place.shape)
    if (dim < 1 || __builtin_mul_overflow(total, dim, &total))
      throw EngineError("tensor " + place.name + ": dimension " + std::to_string(dim) + " is out of range");
  return total;
}

Tensor checked(const TensorPlace& place, const std::vector<Image>& images) {
  const TypeTraits* traits = find_traits(place.type);
  if (traits == nullptr)
    throw EngineError("tensor " + place.name + ": type " + std::to_string(place.type) +
                      " is not a known GGUF type");
  if (place.shape.empty() || place.shape.front() % traits->block != 0)
    throw EngineError("tensor " + place.name + ": rows are not whole blocks of " +
                      std::to_string(traits->block) + " weights (" + traits->name + ")");
  if (place.file >= images.size())
    throw EngineError("tensor " + place.name + ": there is no file " + std::to_string(place.file));
  const size_t bytes = static_cast<size_t>(elements(place) / traits->block) * traits->bytes;
  const size_t size = images[place.file].bytes();
  if (place.offset > size || bytes > size - place.offset)
    throw EngineError("tensor " + place.name + ": needs bytes " + std::to_string(place.offset) + " to " +
                      std::to_string(place.offset + bytes) + " of a file of " + std::to_string(size));
  return {place.name, traits, place.shape, images[place.file].data() + place.offset, bytes};
}

}  // namespace

Weights::Weights(const std::vector<std::string>& files, const std::vector<TensorPlace>& places,
                 Residence residence) {
  images_.reserve(files.size());
  for (const auto& file : files) images_.emplace_back(file, residence);
  for (const auto& place : places) {
    tensors_.push_back(checked(place, images_));
    files_.push_back(place.file);
    starts_.push_back(bytes_);
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

void Weights::populate(Pool& pool, size_t begin, size_t length) const {
  const size_t end = std::min(begin + length, bytes_);
  const auto pieces = static_cast<int64_t>((end - std::min(begin, end) + kPiece - 1) / kPiece);
  std::atomic<int> problem{0};
  std::atomic<const Image*> broken{nullptr};
  pool.run([&](Team& team) {
    team.each(pieces, [&](int64_t i) {
      const size_t from = begin + static_cast<size_t>(i) * kPiece;
      if (const Image* image = load(from, std::min(from + kPiece, end))) {
        problem = errno;
        broken = image;
      }
    });
  });
  if (broken) throw EngineError("cannot read " + broken.load()->path() + ": " + std::strerror(problem));
}

// Returns the image that could not be read, errno saying why; else null.
const Image* Weights::load(size_t begin, size_t end) const {
  auto i = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), begin) - starts_.begin()) - 1;
  for (; i < tensors_.size() && starts_[i] < end; ++i) {
    const Image& image = images_[files_[i]];
    const auto at = static_cast<size_t>(tensors_[i].data - image.data());
    const size_t from = std::max(begin, starts_[i]) - starts_[i];
    const size_t to = std::min(end - starts_[i], tensors_[i].bytes);
    if (!image.load(at + from, at + to)) return &image;
  }
  return nullptr;
}

}  // namespace ktd
