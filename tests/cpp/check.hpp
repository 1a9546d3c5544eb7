// CHECK prints the expression that failed and counts it; main returns check_result().
#pragma once

#include <cstdio>

inline int& check_failures() {
    static int count = 0;
    return count;
}

#define CHECK(expression)                                                       \
    do {                                                                        \
        if (!(expression)) {                                                    \
            std::printf("%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #expression); \
            ++check_failures();                                                 \
        }                                                                       \
    } while (0)

#define CHECK_THROWS(expression)                                                       \
    do {                                                                               \
        bool threw = false;                                                            \
        try {                                                                          \
            (void)(expression);                                                        \
        } catch (const std::invalid_argument&) {                                       \
            threw = true;                                                              \
        }                                                                              \
        if (!threw) {                                                                  \
            std::printf("%s:%d: %s did not throw\n", __FILE__, __LINE__, #expression); \
            ++check_failures();                                                        \
        }                                                                              \
    } while (0)

inline int check_result() {
    if (check_failures()) std::printf("%d checks failed\n", check_failures());
    return check_failures() ? 1 : 0;
}
