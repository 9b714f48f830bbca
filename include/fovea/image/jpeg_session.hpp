// SPDX-License-Identifier: MIT
/// \file
/// libjpeg-turbo as C++ can use it: bytes from a file or from memory, errors as Error, nothing that jumps over a destructor.
/// Part of image/jpeg.hpp; needs libjpeg like that (CMake component `jpeg`).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

// libjpeg's header wants <cstdio> before it, and its error codes the configuration that the header brings.
// clang-format off
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#ifndef JCS_ALPHA_EXTENSIONS
#error "fovea/image/jpeg.hpp: libjpeg-turbo expected, another libjpeg came"
#endif

namespace fovea::inline FOVEA_ABI {
namespace detail {

/// Bytes of a file, or of memory that is someone else's or its own.
class JpegBytes {
 public:
  explicit JpegBytes(const std::filesystem::path& path) : file_(std::fopen(path.string().c_str(), "rb"), &std::fclose) {
    require(file_ != nullptr, "jpeg: ", path.string(), " cannot be opened");
    // Blocks go straight to where they are wanted.
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);
    const bool sought = std::fseek(file_.get(), 0, SEEK_END) == 0;
    const long end = sought ? std::ftell(file_.get()) : -1L;
    require(end >= 0 && end < std::numeric_limits<long>::max(), "jpeg: a file one can seek in expected, ", path.string(),
            " came");
    size_ = static_cast<std::uint64_t>(end);
  }
  explicit JpegBytes(std::span<const std::byte> memory)
      : data_(reinterpret_cast<const std::uint8_t*>(memory.data())), size_(memory.size()) {}
  explicit JpegBytes(std::vector<std::uint8_t> memory)
      : owned_(std::move(memory)), data_(owned_.data()), size_(owned_.size()) {}

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t memory() const noexcept { return owned_.capacity(); }
  /// Copies at most `count` bytes from `offset`; returns how many there were.
  [[nodiscard]] std::size_t read(std::uint64_t offset, std::uint8_t* to, std::size_t count) const noexcept {
    if (offset >= size_) return 0;
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(count, size_ - offset));
    if (file_ == nullptr) {
      std::memcpy(to, data_ + offset, n);
      return n;
    }
    if (std::fseek(file_.get(), static_cast<long>(offset), SEEK_SET) != 0) return 0;
    return std::fread(to, 1, n, file_.get());
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, &std::fclose};
  std::vector<std::uint8_t> owned_;
  const std::uint8_t* data_ = nullptr;
  std::uint64_t size_ = 0;
};

/// True where `call` came to its end, false where libjpeg jumped out of it. Nothing with a destructor may be alive in `call`,
/// nor in what libjpeg calls back; that is why this function is so small.
template <class Call>
  requires std::is_trivially_destructible_v<Call>
[[nodiscard]] bool jpeg_survives(std::jmp_buf& jump, const Call& call) {
  if (setjmp(jump) != 0) return false;
  call();
  return true;
}

/// A decompressor at work: its source of bytes, and its errors as Error.
class JpegSession {
 public:
  /// Fills of the buffer; what is left of one is decoded slowly, MCU by MCU (3 KiB), so small ones are no good.
  static constexpr std::size_t kBlock = std::size_t{64} << 10U;
  /// Behind the end: lets the fast entropy decoder go on to the last MCU.
  static constexpr std::size_t kSlack = std::size_t{6} << 10U;

  jpeg_decompress_struct cinfo{};

  /// `bytes` must outlive the session.
  JpegSession(const JpegBytes& bytes, int max_scans)
      : bytes_(bytes),
        memory_(std::make_unique_for_overwrite<std::uint8_t[]>(kBlock + kSlack)),
        buffer_(memory_.get()),
        max_scans_(max_scans) {
    jpeg_std_error(&errors_);
    errors_.error_exit = [](j_common_ptr c) { of(c).escape(c); };
    errors_.emit_message = [](j_common_ptr c, int level) {
      if (level < 0 && is_damage(c->err->msg_code)) of(c).escape(c);
    };
    errors_.output_message = [](j_common_ptr /*c*/) {};
    cinfo.err = &errors_;
    cinfo.client_data = this;
  }
  JpegSession(const JpegSession&) = delete;
  JpegSession& operator=(const JpegSession&) = delete;
  ~JpegSession() { jpeg_destroy_decompress(&cinfo); }

  /// Reads the headers up to the first scan. `row` and `rows` are for messages: where in the picture the bytes begin, where
  /// they are a part of it.
  void open(Index row, Index rows) {
    first_row_ = row;
    rows_ = rows;
    call([this] {
      jpeg_create_decompress(&cinfo);
      source_.init_source = [](j_decompress_ptr /*c*/) {};
      source_.fill_input_buffer = [](j_decompress_ptr c) -> boolean {
        of(c).fill();
        return TRUE;
      };
      source_.skip_input_data = [](j_decompress_ptr c, long count) { of(c).skip(count); };
      source_.resync_to_restart = jpeg_resync_to_restart;
      source_.term_source = [](j_decompress_ptr /*c*/) {};
      cinfo.src = &source_;
      progress_.progress_monitor = [](j_common_ptr c) { of(c).watch(); };
      cinfo.progress = &progress_;
      jpeg_read_header(&cinfo, TRUE);
      in_scan_ = true;
    });
  }

  /// Runs `call`, which calls libjpeg, and throws Error where that complained.
  template <class Call>
  void call(const Call& c) {
    if (!jpeg_survives(jump_, c)) raise();
  }
  /// The same for those who go on otherwise.
  template <class Call>
  [[nodiscard]] bool survives(const Call& c) {
    return jpeg_survives(jump_, c);
  }
  [[nodiscard]] jpeg_error_mgr* errors() noexcept { return &errors_; }
  [[nodiscard]] static JpegSession& of(const void* client_data) noexcept {
    // libjpeg hands back the pointer it was given.
    return *static_cast<JpegSession*>(const_cast<void*>(client_data));
  }

  /// Reads all scans of a file, of a picture that is buffered.
  void read_scans() {
    call([this] {
      jpeg_start_decompress(&cinfo);
      while (jpeg_input_complete(&cinfo) == FALSE) {
        watch();
        (void)jpeg_consume_input(&cinfo);
      }
    });
    require_complete();
  }
  /// Throws Error unless a file of several scans has been read to its end, with all its components.
  void require_complete() const {
    require(!ended_, "jpeg: the file ends in or after scan ", cinfo.input_scan_number, ", its end is missing");
    for (int i = 0; i < cinfo.num_components; ++i) {
      require(((seen_ >> static_cast<unsigned>(i)) & 1U) != 0, "jpeg: a scan of each of the ", cinfo.num_components,
              " components expected, there is none of component ", i + 1);
    }
  }

  /// Bytes the decoder has taken.
  [[nodiscard]] std::uint64_t taken() const noexcept {
    return ended_ ? given_ : given_ - std::min<std::uint64_t>(given_, source_.bytes_in_buffer);
  }
  /// Where in the file the decoder is.
  [[nodiscard]] std::uint64_t offset() const noexcept {
    return ended_ ? position_ : position_ - std::min<std::uint64_t>(position_, source_.bytes_in_buffer);
  }

 private:
  const JpegBytes& bytes_;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::uint8_t* buffer_;  ///< the same: what is called back must not see a destructor
  int max_scans_;
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  std::array<char, JMSG_LENGTH_MAX> message_{};
  std::uint64_t position_ = 0;  ///< in the file
  std::uint64_t given_ = 0;
  Index first_row_ = 0;
  Index rows_ = 0;
  std::uint32_t seen_ = 0;  ///< components that had a scan
  bool in_scan_ = false;
  bool ended_ = false;
  bool too_many_scans_ = false;

  [[nodiscard]] static JpegSession& of(j_common_ptr c) noexcept { return of(c->client_data); }
  [[nodiscard]] static JpegSession& of(j_decompress_ptr c) noexcept { return of(c->client_data); }

  /// The warnings after which pixels are wrong. Others are about what pixels do not depend on: bytes too many before a marker,
  /// versions, colour transforms nobody knows.
  [[nodiscard]] static bool is_damage(int code) noexcept {
    return code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_ARITH_BAD_CODE || code == JWRN_MUST_RESYNC ||
           code == JWRN_BOGUS_PROGRESSION || code == JWRN_JPEG_EOF;
  }
  [[noreturn]] void escape(j_common_ptr c) noexcept {
    errors_.format_message(c, message_.data());
    std::longjmp(jump_, 1);
  }
  [[noreturn]] void raise() {
    const std::string message = message_.data();
    require(!too_many_scans_, "jpeg: at most ", max_scans_, " scans expected, the file has more");
    switch (errors_.msg_code) {
      case JERR_NO_SOI: fail("jpeg: a file that begins with FF D8 expected");
      case JERR_BAD_PRECISION: fail("jpeg: 8 bits a sample expected, ", errors_.msg_parm.i[0], " came");
      case JERR_SOF_UNSUPPORTED:
        fail("jpeg: a sequential or progressive DCT expected (SOF 0, 1, 2, 9 or 10), SOF ", errors_.msg_parm.i[0] - 0xC0,
             " came");
      default: break;
    }
    if (!in_scan_) {
      require(!ended_, "jpeg: the file ends before its first scan");
      fail("jpeg: the headers are damaged or unusual: ", message);
    }
    std::string place;
    if (jpeg_has_multiple_scans(&cinfo) != FALSE) {
      place = "scan " + std::to_string(cinfo.input_scan_number);
    } else {
      const Index row = first_row_ + static_cast<Index>(cinfo.input_iMCU_row) * cinfo.max_v_samp_factor * DCTSIZE;
      place = "row " + std::to_string(std::min(row, rows_ - 1)) + " of " + std::to_string(rows_);
    }
    if (ended_) fail("jpeg: the file ends in ", place);
    fail("jpeg: damaged in ", place, ": ", message);
  }

  /// Called by libjpeg between rows of MCUs while it reads several scans.
  void watch() noexcept {
    for (int i = 0; in_scan_ && i < cinfo.comps_in_scan; ++i) {
      seen_ |= 1U << static_cast<unsigned>(cinfo.cur_comp_info[i]->component_index);
    }
    if (cinfo.input_scan_number > max_scans_) {
      too_many_scans_ = true;
      std::longjmp(jump_, 1);
    }
  }

  void fill() noexcept {
    std::size_t count = bytes_.read(position_, buffer_, kBlock);
    position_ += count;
    given_ += count;
    if (count == 0) {
      // An end that libjpeg takes for one; what is missing then is a warning, and an Error of ours.
      ended_ = true;
      std::memset(buffer_, 0, kSlack);
      buffer_[0] = 0xFF;
      buffer_[1] = JPEG_EOI;
      count = kSlack;
    }
    source_.next_input_byte = buffer_;
    source_.bytes_in_buffer = count;
  }
  /// Also over what was not read yet: a thumbnail, a profile.
  void skip(long count) noexcept {
    if (count <= 0) return;
    const auto over = static_cast<std::size_t>(count);
    const std::size_t here = std::min(over, source_.bytes_in_buffer);
    source_.next_input_byte += here;
    source_.bytes_in_buffer -= here;
    position_ += over - here;
  }
};

/// What jpeg_write_coefficients writes to.
struct JpegWriter {
  jpeg_compress_struct cinfo{};
  jpeg_destination_mgr destination{};
  std::vector<std::uint8_t> block = std::vector<std::uint8_t>(JpegSession::kBlock);
  std::vector<std::uint8_t> all;

  explicit JpegWriter(JpegSession& session) noexcept(false) {
    cinfo.err = session.errors();
    cinfo.client_data = &session;
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;
  ~JpegWriter() { jpeg_destroy_compress(&cinfo); }

  [[nodiscard]] static JpegWriter& of(j_compress_ptr c) noexcept {
    static_assert(std::is_standard_layout_v<JpegWriter>);  // so that its first member is where it is
    return *reinterpret_cast<JpegWriter*>(c);
  }
  void restart() noexcept {
    destination.next_output_byte = block.data();
    destination.free_in_buffer = block.size();
  }
  [[nodiscard]] bool append(std::size_t count) noexcept {
    try {
      all.insert(all.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(count));
      return true;
    } catch (...) {
      return false;
    }
  }
  static void flush(j_compress_ptr c, std::size_t count) {
    if (!of(c).append(count)) ERREXIT1(c, JERR_OUT_OF_MEMORY, 0);
    of(c).restart();
  }
};

/// The coefficients that a session has read as a file of one baseline scan with a restart marker a row of MCUs, without loss;
/// empty where one scan cannot hold them (sampling factors it may not have, say).
[[nodiscard]] inline std::vector<std::uint8_t> jpeg_as_one_scan(JpegSession& session, jvirt_barray_ptr* coefficients) {
  JpegWriter writer(session);
  const bool written = session.survives([&session, &writer, coefficients] {
    jpeg_compress_struct& c = writer.cinfo;
    jpeg_create_compress(&c);
    writer.destination.init_destination = [](j_compress_ptr w) { JpegWriter::of(w).restart(); };
    writer.destination.empty_output_buffer = [](j_compress_ptr w) -> boolean {
      JpegWriter::flush(w, JpegWriter::of(w).block.size());
      return TRUE;
    };
    writer.destination.term_destination = [](j_compress_ptr w) {
      JpegWriter::flush(w, JpegWriter::of(w).block.size() - JpegWriter::of(w).destination.free_in_buffer);
    };
    c.dest = &writer.destination;
    jpeg_copy_critical_parameters(&session.cinfo, &c);
    c.restart_in_rows = 1;
    jpeg_write_coefficients(&c, coefficients);
    jpeg_finish_compress(&c);
  });
  if (!written) return {};
  writer.all.shrink_to_fit();
  return std::move(writer.all);
}

}  // namespace detail
}  // namespace fovea::inline FOVEA_ABI
