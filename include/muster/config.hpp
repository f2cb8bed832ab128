// The one switch of the library: compiled (MUSTER_COMPILED, set by the target muster::muster) or header-only.
#pragma once

#if !defined(_MSVC_LANG) && __cplusplus < 201703L
#error "muster needs C++17: compile with -std=c++17, or target_compile_features(... cxx_std_17)"
#endif

#define MUSTER_VERSION_MAJOR 0
#define MUSTER_VERSION_MINOR 1
#define MUSTER_VERSION_PATCH 0

// The inline namespace names version and mode, so that two of them in one program are a link error and never a
// silent mixture.
#if defined(MUSTER_COMPILED)
#define MUSTER_INLINE
#define MUSTER_ABI v0_1_compiled
#else
#define MUSTER_INLINE inline
#define MUSTER_ABI v0_1_header_only
#endif
