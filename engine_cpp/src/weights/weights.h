// The tensors of a model, mapped read-only from its files; every extent is checked against its file at the
// door.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "weights/tensor.h"

namespace ktd {

struct TensorPlace {
  std::string name;
  size_t file;
  uint64_t offset;  // from the start of that file
  uint32_t type;
  std::vector<int64_t> shape;
};

// A whole file mapped read-only.
class Mapping {
 public:
  explicit Mapping(const std::string& path);
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&&) = delete;

  const std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  const std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

class Weights {
 public:
  // Throws EngineError naming the tensor or file.
  Weights(const std::vector<std::string>& files, const std::vector<TensorPlace>& places);
  Weights(const Weights&) = delete;

  const Tensor& at(const std::string& name) const;
  size_t bytes() const { return bytes_; }

  // Reads bytes [begin, begin + length) of all tensors, counted in file order, into memory.
  void populate(size_t begin, size_t length) const;

 private:
  std::vector<Mapping> mappings_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string, size_t> by_name_;
  size_t bytes_ = 0;
};

}  // namespace ktd
