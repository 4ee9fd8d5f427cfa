#include "machine/isa.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"

namespace ktd {
namespace {

struct IsaRow {
  Isa isa;
  const char* name;
  std::vector<std::string> missing;  // features of it that this CPU lacks
};

#define KTD_FEATURE(list, feature) \
  if (!__builtin_cpu_supports(feature)) list.emplace_back(feature)

#if defined(KTD_HAVE_avx2)
std::vector<std::string> lacking_for_avx2() {
  std::vector<std::string> lacking;
  KTD_FEATURE(lacking, "avx2");
  KTD_FEATURE(lacking, "fma");
  KTD_FEATURE(lacking, "f16c");
  return lacking;
}
#endif

#if defined(KTD_HAVE_avx512)
std::vector<std::string> lacking_for_avx512() {
  std::vector<std::string> lacking = lacking_for_avx2();
  KTD_FEATURE(lacking, "avx512f");
  KTD_FEATURE(lacking, "avx512bw");
  KTD_FEATURE(lacking, "avx512vl");
  KTD_FEATURE(lacking, "avx512dq");
  KTD_FEATURE(lacking, "avx512vnni");
  return lacking;
}
#endif

#if defined(KTD_HAVE_avx512vbmi)
std::vector<std::string> lacking_for_avx512vbmi() {
  std::vector<std::string> lacking = lacking_for_avx512();
  KTD_FEATURE(lacking, "avx512vbmi");
  KTD_FEATURE(lacking, "avx512bitalg");
  KTD_FEATURE(lacking, "gfni");
  return lacking;
}
#endif

#undef KTD_FEATURE

const std::vector<IsaRow>& rows() {
  static const std::vector<IsaRow> found = {
#if defined(KTD_HAVE_avx512vbmi)
      {Isa::Avx512Vbmi, "avx512vbmi", lacking_for_avx512vbmi()},
#endif
#if defined(KTD_HAVE_avx512)
      {Isa::Avx512, "avx512", lacking_for_avx512()},
#endif
#if defined(KTD_HAVE_avx2)
      {Isa::Avx2, "avx2", lacking_for_avx2()},
#endif
      {Isa::Scalar, "scalar", {}},
  };
  return found;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

const char* name(Isa isa) {
  for (const auto& row : rows())
    if (row.isa == isa) return row.name;
  return "?";
}

std::span<const Isa> available_isas() {
  static const std::vector<Isa> usable = [] {
    std::vector<Isa> list;
    for (const auto& row : rows())
      if (row.missing.empty()) list.push_back(row.isa);
    return list;
  }();
  return usable;
}

Isa choose_isa(std::string_view wanted) {
  const char* forced = std::getenv("KTD_ISA");
  if (wanted.empty() && forced != nullptr) wanted = forced;
  if (wanted.empty()) return available_isas().front();
  std::vector<std::string> names;
  for (const auto& row : rows()) {
    if (row.name == wanted && row.missing.empty()) return row.isa;
    if (row.name == wanted)
      throw EngineError("ISA " + std::string(wanted) + " is not usable here: this CPU lacks " +
                        joined(row.missing));
    names.emplace_back(row.name);
  }
  throw EngineError("unknown ISA '" + std::string(wanted) + "'; this build has " + joined(names));
}

}  // namespace ktd
