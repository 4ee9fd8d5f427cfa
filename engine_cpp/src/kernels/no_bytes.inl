// ISAs without products of bytes: every quantised type is decoded.

namespace ktd::KTD_ISA {
namespace {

constexpr MatmulFn kRowsQ8_0 = matmul_decoded<BlockQ8_0>;
constexpr MatmulFn kRowsQ4_0 = matmul_decoded<BlockQ4_0>;
constexpr MatmulFn kRowsQ4_K = matmul_decoded<BlockQ4_K>;
constexpr MatmulFn kRowsQ6_K = matmul_decoded<BlockQ6_K>;

}  // namespace
}  // namespace ktd::KTD_ISA
