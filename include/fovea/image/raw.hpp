// SPDX-License-Identifier: MIT
/// \file
/// Pixels that lie in a file as they lie in memory: plain binary files and NumPy's .npy. Nothing is decoded: the file is
/// mapped, and a look costs the pages it touches.
///
/// Two ways to look: `map_raw` and `map_npy` give a BasicImageFile with everything it has (overview, channels, cache), and
/// `raw_view` and `npy_view` the pixels in place, as a source of one level.
///
/// A file must not shrink while it is mapped: reading what is gone ends the process (SIGBUS). Where there is no mapping (other
/// systems than POSIX) the file is read as a whole.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/color.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/view.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define FOVEA_HAS_MMAP 1
#else
#include <fstream>
#define FOVEA_HAS_MMAP 0
#endif

namespace fovea::inline FOVEA_ABI {

/// A file in the address space, to be read. Movable; what points into it stays valid.
class MappedFile {
 public:
  MappedFile() = default;
  /// Throws Error where that is no regular file, or cannot be read.
  explicit MappedFile(const std::filesystem::path& path) {
#if FOVEA_HAS_MMAP
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not make us wait
    require(file >= 0, "map: ", path.string(), " cannot be read");
    struct stat status {};
    const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    const auto size = regular ? static_cast<std::size_t>(status.st_size) : std::size_t{0};
    void* at = size == 0 ? nullptr : ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
    (void)::close(file);
    require(regular && at != MAP_FAILED, "map: ", path.string(), ", a regular file that can be mapped expected");
    bytes_ = {static_cast<const std::byte*>(at), size};
#else
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const auto size = static_cast<std::streamoff>(file.tellg());
    require(file.good() && size >= 0, "map: ", path.string(), " cannot be read");
    copy_.resize(static_cast<std::size_t>(size));
    file.seekg(0);
    require(size == 0 || file.read(reinterpret_cast<char*>(copy_.data()), size).good(), "map: ", path.string(),
            " cannot be read");
    bytes_ = copy_;
#endif
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~MappedFile() {
#if FOVEA_HAS_MMAP
    if (!bytes_.empty()) (void)::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
#endif
  }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// Says that what was read so far is not needed soon: it counts as this process' memory no longer, and is read again as
  /// before.
  void release() const noexcept {
#if FOVEA_HAS_MMAP
    if (!bytes_.empty()) (void)::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
#endif
  }

 private:
  void swap(MappedFile& other) noexcept {
    std::swap(bytes_, other.bytes_);
#if !FOVEA_HAS_MMAP
    copy_.swap(other.copy_);
#endif
  }

  std::span<const std::byte> bytes_;
#if !FOVEA_HAS_MMAP
  std::vector<std::byte> copy_;
#endif
};

/// What the elements of a raw file are; in the byte order of this machine.
enum class RawType : std::uint8_t { u8, u16, f32 };

[[nodiscard]] constexpr Index size_of(RawType type) noexcept {
  return type == RawType::u8 ? 1 : (type == RawType::u16 ? 2 : 4);
}

/// The type of a raw file that P is read from where nothing else is said.
template <kernel::Pixel P>
  requires(!std::same_as<P, double>)
inline constexpr RawType raw_type =
    std::same_as<P, std::uint8_t> ? RawType::u8 : (std::same_as<P, std::uint16_t> ? RawType::u16 : RawType::f32);

/// Where the pixels lie: rows from the top, pixels from the left, channels together, without gaps.
struct RawLayout {
  Extents<3> extent{};  ///< {height, width, channels}
  RawType type = RawType::u8;
  Index offset = 0;  ///< of the first pixel, in bytes
};

namespace detail {

/// Throws Error where the file does not have all the pixels.
inline void check_raw(std::span<const std::byte> file, const RawLayout& layout) {
  const auto [height, width, channels] = layout.extent;
  require(std::min({height, width, channels}) >= 1 && layout.offset >= 0,
          "raw: an image of at least 1x1x1 at an offset of at least 0 expected, ", height, "x", width, "x", channels, " at ",
          layout.offset, " came");
  // Divided step by step, since the product may be anything.
  const auto size = static_cast<Index>(file.size());
  const Index room = layout.offset > size ? 0 : (size - layout.offset) / size_of(layout.type);
  require(room / channels / width >= height, "raw: ", height, "x", width, "x", channels, " elements of ", size_of(layout.type),
          " bytes from byte ", layout.offset, " on expected, the file has ", size, " bytes");
}

}  // namespace detail

/// Copies boxes out of a file in memory. u8 and u16 become each other as image/color.hpp says; f32 stays what it is.
/// `decoded()` counts what was copied.
template <kernel::Pixel P>
  requires(!std::same_as<P, double>)
class RawDecoder final : public ImageDecoder<P> {
 public:
  /// `channels` 0: as many as the file has, any number; else 1, 3 or 4, for files of 1 to 4 of integers. Throws Error on a file
  /// too short for the layout, and on types and channels that cannot be had.
  RawDecoder(MappedFile file, const RawLayout& layout, Index channels = 0)
      : file_(std::move(file)), bytes_(file_.bytes()), layout_(layout) {
    open(channels);
  }
  /// `memory` must outlive this.
  RawDecoder(std::span<const std::byte> memory, const RawLayout& layout, Index channels = 0) : bytes_(memory), layout_(layout) {
    open(channels);
  }

  void decode(int /*level*/, std::span<const Tile<P>> tiles) override {
    for (const Tile<P>& tile : tiles) {
      for (Index i = 0; i < tile.box.height; ++i) {
        copy(tile.box.top + i, tile.box.left, tile.box.width, &tile.pixels(i, 0, 0));
      }
    }
  }
  void scan(int /*level*/, const RowSink<P>& sink) override {
    const auto [height, width, channels] = layout_.extent;
    std::vector<P> row(static_cast<std::size_t>(width * info_.channels));
    std::size_t read = 0;
    for (Index i = 0; i < height; ++i) {
      copy(i, 0, width, row.data());
      sink(i, row.data());
      read += row.size();
      if (read < kRelease && i + 1 < height) continue;
      file_.release();
      read = 0;
    }
  }

 private:
  using ImageDecoder<P>::info_;
  using ImageDecoder<P>::decoded_;

  void open(Index channels) {
    detail::check_raw(bytes_, layout_);
    const Index stored = layout_.extent[2];
    const bool floating = layout_.type == RawType::f32;
    require(floating == std::is_floating_point_v<P>, "raw: elements of ", floating ? "integers" : "floating point",
            " expected for such pixels, the file has ", floating ? "floating point" : "integers");
    require(channels == 0 || channels == stored || std::is_unsigned_v<P>, "raw: ", stored,
            " channels of floating point expected, as the file has, ", channels, " came");
    info_.channels = channels == 0 || channels == stored ? stored : channels_of(stored, channels);
    info_.levels = {{{layout_.extent[0], layout_.extent[1]}, kTile, {1, 1}}};
  }

  void copy(Index row, Index left, Index width, P* to) {
    const Index stored = layout_.extent[2];
    const std::byte* from =
        bytes_.data() + layout_.offset + ((row * layout_.extent[1] + left) * stored) * size_of(layout_.type);
    const auto size = static_cast<std::size_t>(width * stored * size_of(layout_.type));
    decoded_.bytes += static_cast<std::int64_t>(size);
    decoded_.pixels += width;
    if (layout_.type == raw_type<P> && stored == info_.channels) {
      std::memcpy(to, from, size);
      return;
    }
    if constexpr (std::is_unsigned_v<P>) {
      if (layout_.type == RawType::u8) return convert(reinterpret_cast<const std::uint8_t*>(from), width, to);
      words_.resize(static_cast<std::size_t>(width * stored));
      std::memcpy(words_.data(), from, size);  // the file may be at any address
      convert(words_.data(), width, to);
    }
  }
  template <class In>
  void convert(const In* from, Index width, P* to) const noexcept {
    const Index stored = layout_.extent[2];
    if (stored == info_.channels) {
      convert_pixels(from, 1, to, 1, width * stored);  // of any number; each on its own
    } else {
      convert_pixels(from, stored, to, info_.channels, width);
    }
  }

  /// A glimpse copies little beside it, and the cache has few pieces to keep.
  static constexpr Extents<2> kTile{64, 64};
  /// A scan keeps so many elements of the file in memory.
  static constexpr std::size_t kRelease = std::size_t{4} << 20U;

  MappedFile file_;
  std::span<const std::byte> bytes_;
  RawLayout layout_;
  std::vector<std::uint16_t> words_;
};

/// The pixels of a raw file in place. Throws Error where the file is too short, has another type than P, or has its pixels at
/// an address that is no multiple of their size.
template <kernel::Pixel P>
  requires(!std::same_as<P, double>)
[[nodiscard]] ImageView<P> raw_view(std::span<const std::byte> file, const RawLayout& layout) {
  detail::check_raw(file, layout);
  require(layout.type == raw_type<P>, "raw: elements of ", size_of(raw_type<P>), " bytes expected, those of ",
          size_of(layout.type), " came");
  const std::byte* at = file.data() + layout.offset;
  require(std::bit_cast<std::uintptr_t>(at) % sizeof(P) == 0, "raw: pixels at a multiple of ", sizeof(P),
          " bytes expected, they begin at ", layout.offset);
  return {reinterpret_cast<const P*>(at), layout.extent};
}

/// A raw file as something to look at.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> map_raw(const std::filesystem::path& path, const RawLayout& layout,
                                        const ImageFileOptions& options = {}) {
  return BasicImageFile<P>(std::make_unique<RawDecoder<P>>(MappedFile(path), layout, options.channels), options);
}
/// The same in memory, which must outlive it.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> map_raw(std::span<const std::byte> memory, const RawLayout& layout,
                                        const ImageFileOptions& options = {}) {
  return BasicImageFile<P>(std::make_unique<RawDecoder<P>>(memory, layout, options.channels), options);
}

// ----------------------------------------------------------------------------------------------------------------- .npy

namespace detail {

/// The header of a .npy file is the text of a Python dictionary with three known keys; this reads such texts and no others.
class NpyHeader {
 public:
  explicit NpyHeader(std::string_view text) : text_(text) {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr") {
        require(peek() != '[', "npy: an array of numbers expected, one of records came");
        type = quoted();
      } else if (key == "fortran_order") {
        fortran = word() == "True";
      } else if (key == "shape") {
        expect('(');
        while (!accept(')')) {
          require(rank < shape.size(),
                  "npy: an image {height, width} or {height, width, channels} expected, an array of more "
                  "than 3 axes came");
          shape[rank++] = number();
          if (!accept(',')) {
            expect(')');
            break;
          }
        }
      } else {
        fail("npy: descr, fortran_order and shape expected, ", key, " came");
      }
      ++keys_;
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    require(keys_ == 3 && !type.empty(), "npy: descr, fortran_order and shape expected once each");
  }

  std::string_view type;
  bool fortran = false;
  Extents<3> shape{};
  std::size_t rank = 0;

 private:
  [[nodiscard]] char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  [[nodiscard]] bool accept(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c) { require(accept(c), "npy: '", std::string_view(&c, 1), "' expected at byte ", at_, " of the header"); }
  [[nodiscard]] std::string_view quoted() {
    const char quote = peek();
    require(quote == '\'' || quote == '"', "npy: a quoted name expected at byte ", at_, " of the header");
    const std::size_t end = text_.find(quote, at_ + 1);
    require(end != std::string_view::npos, "npy: a quote is open at the end of the header");
    const std::string_view found = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return found;
  }
  [[nodiscard]] std::string_view word() {
    (void)peek();
    const std::size_t from = at_;
    while (at_ < text_.size() && ((text_[at_] >= 'a' && text_[at_] <= 'z') || (text_[at_] >= 'A' && text_[at_] <= 'Z'))) ++at_;
    const std::string_view found = text_.substr(from, at_ - from);
    require(found == "True" || found == "False", "npy: True or False expected at byte ", from, " of the header");
    return found;
  }
  [[nodiscard]] Index number() {
    (void)peek();
    const std::size_t from = at_;
    Index n = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      n = n * 10 + (text_[at_] - '0');
      require(n <= std::numeric_limits<Index>::max() / 16, "npy: a shape that fits the file expected");
    }
    require(at_ > from, "npy: a number expected at byte ", from, " of the header");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // as Python 2 wrote them
    return n;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int keys_ = 0;
};

}  // namespace detail

/// Where a .npy file (versions 1 to 3) has its pixels: an array {height, width} or {height, width, channels} of u1, <u2 or <f4
/// in C order. Throws Error on anything else, and on a file shorter than it says.
[[nodiscard]] inline RawLayout npy_layout(std::span<const std::byte> file) {
  static_assert(std::endian::native == std::endian::little, "fovea/image/raw.hpp: .npy is read on little-endian machines");
  constexpr std::array<unsigned char, 6> kMagic{0x93, 'N', 'U', 'M', 'P', 'Y'};
  require(file.size() >= 10 && std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0, "npy: a .npy file expected");
  const auto byte = [&](std::size_t i) { return std::to_integer<std::size_t>(file[i]); };
  const std::size_t version = byte(6);
  require(version >= 1 && version <= 3, "npy: version 1, 2 or 3 expected, ", version, " came");
  const std::size_t begin = version == 1 ? 10 : 12;
  require(file.size() >= begin, "npy: the header is cut short");
  const std::size_t length = byte(8) + (byte(9) << 8U) + (version == 1 ? 0 : (byte(10) << 16U) + (byte(11) << 24U));
  require(length <= file.size() - begin, "npy: a header of ", length, " bytes expected, the file has ", file.size());
  const detail::NpyHeader header({reinterpret_cast<const char*>(file.data()) + begin, length});
  require(!header.fortran, "npy: an array in C order expected, one in Fortran order came");
  require(header.rank >= 2, "npy: an image {height, width} or {height, width, channels} expected, an array of ", header.rank,
          " axes came");
  RawLayout layout;
  layout.extent = {header.shape[0], header.shape[1], header.rank == 3 ? header.shape[2] : Index{1}};
  layout.offset = static_cast<Index>(begin + length);
  const std::string_view type = header.type;
  if (type == "<u2") {
    layout.type = RawType::u16;
  } else if (type == "<f4") {
    layout.type = RawType::f32;
  } else {
    require(type == "|u1" || type == "<u1" || type == "u1", "npy: elements of type |u1, <u2 or <f4 expected, ", type, " came");
  }
  detail::check_raw(file, layout);
  return layout;
}

/// The pixels of a .npy file in place; its type must be P's.
template <kernel::Pixel P>
  requires(!std::same_as<P, double>)
[[nodiscard]] ImageView<P> npy_view(std::span<const std::byte> file) { return raw_view<P>(file, npy_layout(file)); }

/// A .npy file as something to look at: u1 and u2 as std::uint8_t or std::uint16_t, f4 as float.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> map_npy(const std::filesystem::path& path, const ImageFileOptions& options = {}) {
  MappedFile file(path);
  const RawLayout layout = npy_layout(file.bytes());
  return BasicImageFile<P>(std::make_unique<RawDecoder<P>>(std::move(file), layout, options.channels), options);
}
/// The same in memory, which must outlive it.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> map_npy(std::span<const std::byte> memory, const ImageFileOptions& options = {}) {
  return map_raw<P>(memory, npy_layout(memory), options);
}

}  // namespace fovea::inline FOVEA_ABI
