#include "run/model.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "stages.h"
#include "subjects.h"

namespace ktd {

using namespace nb::literals;

namespace {

using Ints = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<nb::numpy, float, nb::ndim<2>>;
using States = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void make_model(Model* self, Machine& machine, const Weights& weights, nb::sequence stages,
                int64_t max_tokens, bool streamed) {
  if (max_tokens < 1) throw EngineError("max_tokens must be at least 1, not " + std::to_string(max_tokens));
  ModelFacts facts{.dim = 0,
                   .vocab = 0,
                   .context = INT32_MAX,
                   .logits = false,
                   .continues = false,
                   .max_tokens = max_tokens,
                   .cache_widths = {},
                   .derived_bytes = 0,
                   .streamed = streamed};
  auto bound = read_stages(stages, weights, machine, facts);
  if (facts.dim == 0) throw EngineError("a model starts with an Embed or Combine stage");
  new (self) Model(machine, facts, std::move(bound));
}

TensorType cache_type(const std::string& name) {
  if (name == "f32") return TensorType::F32;
  if (name == "f16") return TensorType::F16;
  if (name == "bf16") return TensorType::BF16;
  if (name == "q8_0") return TensorType::Q8_0;
  throw EngineError("a KV cache is f32, f16, bf16 or q8_0, not '" + name + "'");
}

void make_cache(KvCache* self, const Model& model, int64_t pages, int64_t page_tokens,
                const std::string& type) {
  new (self) KvCache(model.facts().cache_widths, pages, page_tokens, cache_type(type));
}

std::span<const int32_t> span(const Ints& array) {
  return {array.data(), array.size()};
}

Floats owned(std::unique_ptr<float[]> values, size_t rows, int64_t width) {
  float* data = values.release();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return Floats(data, {rows, static_cast<size_t>(width)}, owner);
}

std::pair<Floats, Floats> forward(Model& self, KvCache& cache, const Ints& tokens, const Ints& positions,
                                  const Ints& sequences, const Table& pages, const Ints& rows,
                                  const Ints& kept, const std::optional<States>& given) {
  const int64_t vocab = self.facts().vocab, dim = self.facts().dim;
  if (given && (given->shape(0) != tokens.size() || given->shape(1) != static_cast<size_t>(dim)))
    throw EngineError("the states that a step is given are not one row for each token");
  auto logits = std::make_unique<float[]>(rows.size() * vocab);
  auto states = std::make_unique<float[]>(kept.size() * dim);
  {
    nb::gil_scoped_release unlocked;
    self.forward(cache,
                 {.tokens = span(tokens),
                  .positions = span(positions),
                  .sequences = span(sequences),
                  .rows = span(rows),
                  .kept = span(kept),
                  .pages = pages.data(),
                  .page_rows = static_cast<int64_t>(pages.shape(0)),
                  .page_columns = static_cast<int64_t>(pages.shape(1))},
                 given ? given->data() : nullptr, logits.get(), states.get());
  }
  return {owned(std::move(logits), rows.size(), vocab), owned(std::move(states), kept.size(), dim)};
}

}  // namespace

void bind_model(nb::module_& m) {
  nb::class_<Model>(m, "Model")
      .def("__init__", &make_model, "machine"_a, "weights"_a, "stages"_a, "max_tokens"_a,
           "streamed"_a = false, nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
      .def_prop_ro("scratch_bytes", &Model::scratch_bytes)
      .def_prop_ro("derived_bytes", [](const Model& self) { return self.facts().derived_bytes; })
      .def("forward", &forward, "cache"_a, "tokens"_a, "positions"_a, "sequences"_a, "pages"_a, "rows"_a,
           "kept"_a, "given"_a = nb::none());
  nb::class_<KvCache>(m, "KvCache")
      .def("__init__", &make_cache, "model"_a, "pages"_a, "page_tokens"_a, "type"_a = "f16")
      .def("fill", &KvCache::fill)
      .def_prop_ro("bytes", &KvCache::bytes)
      .def_prop_ro("pages", &KvCache::pages)
      .def_prop_ro("page_tokens", &KvCache::page_tokens);
}

}  // namespace ktd
