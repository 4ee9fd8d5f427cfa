// The tensors of a model, in the images of its files; every extent is checked against its file at the door.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "machine/pool.h"
#include "weights/image.h"
#include "weights/tensor.h"

namespace ktd {

struct TensorPlace {
  std::string name;
  size_t file;
  uint64_t offset;  // from the start of that file
  uint32_t type;
  std::vector<int64_t> shape;
};

class Weights {
 public:
  // Throws EngineError naming the tensor or file.
  Weights(const std::vector<std::string>& files, const std::vector<TensorPlace>& places, Residence residence);
  Weights(const Weights&) = delete;

  const Tensor& at(const std::string& name) const;
  size_t bytes() const { return bytes_; }

  // Reads bytes [begin, begin + length) of all tensors, counted in the order given, into memory, with all
  // threads. Throws EngineError naming the file.
  void populate(Pool& pool, size_t begin, size_t length) const;

 private:
  const Image* load(size_t begin, size_t end) const;

  std::vector<Image> images_;
  std::vector<Tensor> tensors_;
  std::vector<size_t> files_, starts_;  // of each tensor: its file, and the bytes of those before it
  std::unordered_map<std::string, size_t> by_name_;
  size_t bytes_ = 0;
};

}  // namespace ktd
