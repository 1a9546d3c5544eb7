// Picks the table of kernels once a process. EDGECNN_ISA=NAME forces one, for tests.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/kernels.hpp"
#include "preprocess.hpp"

namespace edgecnn {
namespace {

constexpr int kMaxTables = 8;

struct Tables {
    const Kernels* table[kMaxTables] = {};
    const char* name[kMaxTables + 1] = {};
    int count = 0;

    void add(const Kernels& k) {
        table[count] = &k;
        name[count++] = k.name;
    }

    Tables() {
        add(scalar_kernels());
#ifdef EDGECNN_AARCH64
        add(simd128_kernels());  // NEON is part of the architecture
#endif
#ifdef EDGECNN_X86
        if (__builtin_cpu_supports("sse4.1")) add(simd128_kernels());
        if (__builtin_cpu_supports("avx2")) add(avx2_kernels());
        if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512f") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
            __builtin_cpu_supports("avx512vnni")) {
            add(avx512_kernels());
        }
#endif
    }
};

const Tables& tables() {
    static const Tables all;
    return all;
}

const Kernels& named(const std::string& what, const char* wanted) {
    const Tables& all = tables();
    std::string known;
    for (int i = 0; i < all.count; ++i) {
        if (std::strcmp(all.name[i], wanted) == 0) return *all.table[i];
        known += (i ? ", " : "") + std::string(all.name[i]);
    }
    throw std::invalid_argument(what + " is '" + std::string(wanted) +
                                "', but this CPU and build have only " + known);
}

const Kernels& choose() {
    const Tables& all = tables();
    const char* wanted = std::getenv("EDGECNN_ISA");
    if (wanted == nullptr || *wanted == '\0') return *all.table[all.count - 1];
    return named("EDGECNN_ISA", wanted);
}

}  // namespace

const Kernels& kernels(const char* isa) {
    static const Kernels& chosen = choose();
    return isa == nullptr ? chosen : named("isa", isa);
}

const char* isa() { return kernels().name; }

const char* const* available_isas() { return tables().name; }

}  // namespace edgecnn
