#include "run/sampler.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "run/logprobs.h"
#include "subjects.h"

namespace ktd {

using namespace nb::literals;

namespace {

using Logits = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Mask = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using TokenValues = std::vector<std::pair<int32_t, float>>;

void make_sampler(Sampler* self, float temperature, int32_t top_k, float top_p, float min_p, float typical_p,
                  float repeat_penalty, int32_t repeat_last_n, float presence_penalty,
                  float frequency_penalty, TokenValues bias, uint64_t seed) {
  new (self) Sampler({.temperature = temperature,
                      .top_k = top_k,
                      .top_p = top_p,
                      .min_p = min_p,
                      .typical_p = typical_p,
                      .repeat_penalty = repeat_penalty,
                      .repeat_last_n = repeat_last_n,
                      .presence_penalty = presence_penalty,
                      .frequency_penalty = frequency_penalty,
                      .bias = std::move(bias),
                      .seed = seed});
}

int32_t sample(Sampler& self, const Logits& logits, const std::optional<Mask>& mask) {
  const std::span<const float> values(logits.data(), logits.size());
  const auto bits = mask ? std::span(mask->data(), mask->size()) : std::span<const uint8_t>();
  nb::gil_scoped_release unlocked;
  return self.sample(values, bits);
}

TokenValues logprobs_of(const Logits& logits, int32_t token, int32_t top) {
  TokenValues pairs;
  nb::gil_scoped_release unlocked;
  for (const auto& one : logprobs({logits.data(), logits.size()}, token, top))
    pairs.emplace_back(one.token, one.logprob);
  return pairs;
}

}  // namespace

void bind_sampler(nb::module_& m) {
  nb::class_<Sampler>(m, "Sampler")
      .def("__init__", &make_sampler, nb::kw_only(), "temperature"_a, "top_k"_a, "top_p"_a, "min_p"_a,
           "typical_p"_a = 1.0f, "repeat_penalty"_a, "repeat_last_n"_a, "presence_penalty"_a,
           "frequency_penalty"_a, "bias"_a = TokenValues(), "seed"_a)
      .def("accept", &Sampler::accept, "token"_a)
      .def("sample", &sample, "logits"_a, "mask"_a = nb::none());
  m.def("logprobs", &logprobs_of, "logits"_a, "token"_a, "top"_a);
}

}  // namespace ktd
