// SPDX-License-Identifier: Apache-2.0
//
// Turns a raster stream of pixels into a stream of KERNEL_H x KERNEL_W windows, one a clock, for
// convolution and pooling. Padding costs no clock: taps outside the image are replaced by PAD_CODE,
// never streamed. Rows and images follow each other without draining.
//
//   pixels -> line_buffer -> column_reader -> window_register -> windows
//
// - PIXELS horizontally adjacent pixels make a column group, the unit of everything inside. With
//   PIXELS = 1 it is one column of the image.
// - line_buffer spreads the rows over banks, KERNEL_H of them without dilation, so that a column of
//   KERNEL_H rows is read in a clock.
// - column_reader reads the columns of one row of windows after the other. It reads ahead as far as
//   the queue has room, into the next row too, which hides the refill of the window at a row's end.
// - window_register takes a row's first window from its queue at once, and slides on from there.
//   Columns right of the image are padding that nobody reads. Dilated windows skip columns of it.
// - A window that is used for many clocks (PACE) needs less hardware: the queue holds the columns
//   of the next window alone, and where there is time to read them row by row, one bank holds all
//   rows.
//
// A transfer is OUT_PIXELS windows, adjacent in a row. Element (ky, kx, c) of its window p is at
// byte ((p*KERNEL_H + ky)*KERNEL_W + kx)*C + c. m_window_last marks an image's last transfer.
//
// With LATE, m_window (it alone) holds a transfer in the clock after its handshake. Then the wide
// registers move on a command from a register, and not on m_window_ready.
//
// Equals the windows of `windows_to_columns` in model/network/layers/windows.py. Its timing
// stands again in model/hardware/layers/window.py.
// Latency: 5 clocks from the last pixel of a window to m_window (KERNEL_H - 1 more where columns
// are read row by row).

`default_nettype none

module sliding_window #(
    parameter HEIGHT     = 28,      // rows of the image
    parameter WIDTH      = 28,      // columns of the image, a multiple of PIXELS
    parameter CHANNELS   = 1,
    parameter KERNEL     = 3,       // taps of a window, the same both ways
    parameter KERNEL_H   = KERNEL,  // in rows
    parameter KERNEL_W   = KERNEL,  // in columns
    parameter STRIDE     = 1,
    parameter STRIDE_H   = STRIDE,
    parameter STRIDE_W   = STRIDE,  // a multiple or a divisor of PIXELS
    parameter PADDING    = 0,       // pixels on each side, fewer than a window covers
    parameter PAD_TOP    = PADDING,
    parameter PAD_LEFT   = PADDING,
    parameter PAD_BOTTOM = PADDING,
    parameter PAD_RIGHT  = PADDING,
    parameter DILATION_H = 1,       // rows from tap to tap
    parameter DILATION_W = 1,       // columns from tap to tap
    parameter PAD_CODE   = 0,       // every value of the padding, 0 to 255
    parameter LANES      = CHANNELS,  // channels a beat; a divisor of CHANNELS if PIXELS > 1
    parameter PIXELS     = 1,         // pixels a beat
    parameter PACE       = 1,         // clocks for which every transfer is used, or fewer
    parameter LATE       = 0,         // m_window follows its handshake by a clock
    parameter OUT_PIXELS   = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1,
    parameter WINDOW_WIDTH = 8 * OUT_PIXELS * KERNEL_H * KERNEL_W * CHANNELS
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [8*PIXELS*LANES-1:0] s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,
    output wire [WINDOW_WIDTH-1:0]   m_window,
    output wire                      m_window_last,
    output wire                      m_window_valid,
    input  wire                      m_window_ready
);

    function integer at_least;
        input integer a, b;
        at_least = (a > b) ? a : b;
    endfunction

    function integer at_most;
        input integer a, b;
        at_most = (a < b) ? a : b;
    endfunction

    function integer ceil_div;
        input integer a, b;
        ceil_div = (a + b - 1) / b;
    endfunction

    // The fewest banks, at least `taps`, that hold rows `dilation` apart side by side.
    function integer banks_for;
        input integer taps, dilation;
        integer       tap, clashes;
        begin
            banks_for = taps - 1;
            clashes   = 1;
            while (clashes != 0) begin
                banks_for = banks_for + 1;
                clashes   = 0;
                for (tap = 1; tap < taps; tap = tap + 1)
                    if (tap*dilation % banks_for == 0)
                        clashes = 1;
            end
        end
    endfunction

    // Rows and columns that a window covers, and of windows; then everything in column groups. A
    // row's first transfer ends with column (OUT_PIXELS-1)*STRIDE_W + SPAN_W-1 - PAD_LEFT of the
    // image, if the image has it.
    localparam SPAN_H     = (KERNEL_H - 1)*DILATION_H + 1;
    localparam SPAN_W     = (KERNEL_W - 1)*DILATION_W + 1;
    localparam OUT_HEIGHT = (HEIGHT + PAD_TOP + PAD_BOTTOM - SPAN_H) / STRIDE_H + 1;
    localparam OUT_WIDTH  = (WIDTH + PAD_LEFT + PAD_RIGHT - SPAN_W) / STRIDE_W + 1;
    localparam STEPS      = OUT_WIDTH / OUT_PIXELS;         // transfers a row
    localparam GROUPS     = WIDTH / PIXELS;                 // a row of the image
    localparam SLIDE      = OUT_PIXELS*STRIDE_W / PIXELS;   // that a transfer moves on
    localparam LEFT       = ceil_div(PAD_LEFT, PIXELS);     // left of the image in a first transfer
    localparam RIGHT      = ((OUT_PIXELS - 1)*STRIDE_W + SPAN_W - 1 - PAD_LEFT) / PIXELS + 1;
    localparam FIRST      = at_most(RIGHT, GROUPS);         // of the image in a first transfer
    localparam SLIDES     = at_most(STEPS - 1, ceil_div(at_least(GROUPS - RIGHT, 0), SLIDE));
    localparam SWEEP      = FIRST + SLIDES*SLIDE;           // to read for a row of windows
    localparam MOST       = at_least(FIRST, SLIDE);         // that a transfer takes at once

    generate
        if (WIDTH % PIXELS != 0) begin : gen_bad_width
            error_WIDTH_must_be_a_multiple_of_PIXELS error();
        end
        if (PIXELS % STRIDE_W != 0 && STRIDE_W % PIXELS != 0) begin : gen_bad_stride
            error_STRIDE_must_be_a_multiple_or_a_divisor_of_PIXELS error();
        end
        if (OUT_WIDTH % OUT_PIXELS != 0) begin : gen_bad_out_width
            error_the_windows_of_a_row_must_be_a_multiple_of_OUT_PIXELS error();
        end
        if (PIXELS > 1 && CHANNELS % LANES != 0) begin : gen_bad_lanes
            error_LANES_must_divide_CHANNELS_where_PIXELS_is_over_1 error();
        end
        if (PAD_TOP >= SPAN_H || PAD_BOTTOM >= SPAN_H || PAD_LEFT >= SPAN_W || PAD_RIGHT >= SPAN_W)
        begin : gen_bad_padding
            error_PADDING_must_be_less_than_KERNEL error();
        end
    endgenerate

    // Columns to read while the last transfers of a row take none, if a clock must not be lost.
    localparam BETWEEN    = at_most(STEPS, SWEEP) - SLIDES;

    // A transfer's columns are there READER clocks after the load of the transfer before, if they
    // are read at once. Nothing is read ahead where transfers are used for longer than that.
    // `reader` in model/hardware/layers/window.py is the same number, and `Rows` decides alike.
    localparam READER = (LATE != 0) ? 2 : 3;
    localparam ABREAST = banks_for(KERNEL_H, DILATION_H);
    localparam BANKS  = (PACE >= KERNEL_H*MOST + READER) ? 1 : ABREAST;
    localparam AHEAD  = (PACE >= MOST + READER) ? 0 : READER + at_least(BETWEEN - MOST, 0);

    // Rows to store: those of a row of windows and those that the next one adds; at the end of an
    // image, all that the next image's first windows need. (`rows` of `Rows`.)
    localparam UNUSED_ROWS = (HEIGHT + PAD_TOP + PAD_BOTTOM - SPAN_H) % STRIDE_H;
    localparam ROWS        = ABREAST * ceil_div(
        at_least(SPAN_H + STRIDE_H, 2*SPAN_H - PAD_TOP - PAD_BOTTOM + UNUSED_ROWS), ABREAST);

    localparam GROUP_BITS  = 8 * PIXELS * CHANNELS;  // of one row
    localparam COLUMN_BITS = KERNEL_H * GROUP_BITS;  // of all rows of a window
    localparam UNIT_BITS   = (BANKS > 1) ? COLUMN_BITS : GROUP_BITS;  // of what is read in a clock
    localparam FREE_WIDTH  = $clog2(ROWS + STRIDE_H + 1) + 1;
    localparam ADDR_WIDTH  = $clog2(at_least(ROWS / BANKS * GROUPS, SWEEP + 1));

    wire                               group_written, sweep_done, read, column_done, room;
    wire [FREE_WIDTH-1:0]              freed;
    wire [BANKS*ADDR_WIDTH-1:0]        read_addr;
    wire [BANKS*GROUP_BITS-1:0]        read_data;
    wire [UNIT_BITS-1:0]               unit;
    wire [(LEFT+RIGHT)*COLUMN_BITS-1:0] window;

    // Where PAD_LEFT is no multiple of PIXELS, or windows are dilated, some columns of the register
    // are of no window.
    wire unused_columns = &{1'b0, window};

    line_buffer #(
        .GROUPS(GROUPS), .ROWS(ROWS), .BANKS(BANKS), .CHANNELS(CHANNELS), .LANES(LANES),
        .PIXELS(PIXELS), .FREE_WIDTH(FREE_WIDTH), .ADDR_WIDTH(ADDR_WIDTH)
    ) rows (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .group_written(group_written), .sweep_done(sweep_done), .freed(freed),
        .read(read), .read_addr(read_addr), .read_data(read_data)
    );

    column_reader #(
        .HEIGHT(HEIGHT), .OUT_HEIGHT(OUT_HEIGHT), .KERNEL(KERNEL_H), .STRIDE(STRIDE_H),
        .PADDING(PAD_TOP), .DILATION(DILATION_H), .PAD_CODE(PAD_CODE), .GROUPS(GROUPS),
        .SWEEP(SWEEP), .ROWS(ROWS), .BANKS(BANKS), .GROUP_BITS(GROUP_BITS),
        .FREE_WIDTH(FREE_WIDTH), .ADDR_WIDTH(ADDR_WIDTH)
    ) columns (
        .clk(clk), .rst(rst),
        .group_written(group_written), .sweep_done(sweep_done), .freed(freed),
        .read(read), .read_addr(read_addr), .read_data(read_data),
        .room(room), .column_done(column_done), .unit(unit)
    );

    window_register #(
        .COLUMN_BITS(COLUMN_BITS), .UNIT_BITS(UNIT_BITS), .SPAN(LEFT + RIGHT), .LEFT(LEFT),
        .FIRST(FIRST), .SLIDE(SLIDE), .SLIDES(SLIDES), .STEPS(STEPS), .ROWS(OUT_HEIGHT),
        .PAD_CODE(PAD_CODE), .AHEAD(AHEAD), .LATE(LATE)
    ) register (
        .clk(clk), .rst(rst),
        .read(read), .column_done(column_done), .unit(unit), .room(room),
        .window(window), .window_last(m_window_last), .window_valid(m_window_valid),
        .window_ready(m_window_ready)
    );

    // Tap kx of window p is in column LEFT*PIXELS + p*STRIDE_W + kx*DILATION_W - PAD_LEFT of the
    // register.
    genvar pixel, kx, ky;
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
            for (kx = 0; kx < KERNEL_W; kx = kx + 1) begin : gen_kx
                localparam COL = LEFT*PIXELS + pixel*STRIDE_W + kx*DILATION_W - PAD_LEFT;
                for (ky = 0; ky < KERNEL_H; ky = ky + 1) begin : gen_ky
                    localparam TAP = (pixel*KERNEL_H + ky)*KERNEL_W + kx;
                    assign m_window[8*CHANNELS*TAP +: 8*CHANNELS] =
                        window[(COL / PIXELS)*COLUMN_BITS + ky*GROUP_BITS
                               + 8*CHANNELS*(COL % PIXELS) +: 8*CHANNELS];
                end
            end
        end
    endgenerate

endmodule

`default_nettype wire
