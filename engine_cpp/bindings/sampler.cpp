#include "run/sampler.h"

#include <nanobind/ndarray.h>

#include "subjects.h"

namespace ktd {

using namespace nb::literals;

namespace {

using Logits = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void make_sampler(Sampler* self, float temperature, int32_t top_k, float top_p, float min_p,
                  float repeat_penalty, int32_t repeat_last_n, float presence_penalty,
                  float frequency_penalty, uint64_t seed) {
  new (self) Sampler({.temperature = temperature,
                      .top_k = top_k,
                      .top_p = top_p,
                      .min_p = min_p,
                      .repeat_penalty = repeat_penalty,
                      .repeat_last_n = repeat_last_n,
                      .presence_penalty = presence_penalty,
                      .frequency_penalty = frequency_penalty,
                      .seed = seed});
}

int32_t sample(Sampler& self, const Logits& logits) {
  const std::span<const float> values(logits.data(), logits.size());
  nb::gil_scoped_release unlocked;
  return self.sample(values);
}

}  // namespace

void bind_sampler(nb::module_& m) {
  nb::class_<Sampler>(m, "Sampler")
      .def("__init__", &make_sampler, nb::kw_only(), "temperature"_a, "top_k"_a, "top_p"_a, "min_p"_a,
           "repeat_penalty"_a, "repeat_last_n"_a, "presence_penalty"_a, "frequency_penalty"_a, "seed"_a)
      .def("accept", &Sampler::accept, "token"_a)
      .def("sample", &sample, "logits"_a);
}

}  // namespace ktd
