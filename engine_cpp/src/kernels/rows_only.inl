// ISAs without panels: the kernel for few tokens serves any number.

namespace ktd::KTD_ISA {
namespace {

template <class Packer, MatmulFn few>
constexpr MatmulFn any_tokens() {
  return few;
}

}  // namespace
}  // namespace ktd::KTD_ISA
