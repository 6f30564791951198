// SPDX-License-Identifier: Apache-2.0
//
// Turns a raster stream of pixels into the pixels of windows, one a clock, read straight from a
// memory of rows. It serves convolutions that have time to use a window pixel by pixel: they need
// none of the registers and multiplexers of sliding_window.
//
// - Each window is given out REPEATS times, row by row, with PAD_CODE for pixels outside the image.
// - With a WORD of fewer channels than a pixel has, those are a window for themselves; that of the
//   lowest channels comes first.
// - A window begins as soon as its last pixel is stored.
// - The memory holds the rows of a sweep (one row of windows) and those that the next sweep adds;
//   at the end of an image, all that the next image's first sweep needs.
//
// m_pixel (it alone) holds a pixel in the clock after its handshake. m_pixel_last marks the image's
// last one.
// Equals the windows of `windows_to_columns` in model/network/layers/windows.py. Its timing
// stands again in `_pixels` of model/hardware/layers/conv.py.
// Latency: 2 clocks from the last pixel of a window to its first one on m_pixel.

`default_nettype none

module pixel_reader #(
    parameter HEIGHT     = 28,        // rows of the image
    parameter WIDTH      = 28,        // columns of the image
    parameter CHANNELS   = 1,
    parameter KERNEL     = 3,         // the window, see sliding_window
    parameter KERNEL_H   = KERNEL,
    parameter KERNEL_W   = KERNEL,
    parameter STRIDE     = 1,
    parameter STRIDE_H   = STRIDE,
    parameter STRIDE_W   = STRIDE,
    parameter PADDING    = 0,
    parameter PAD_TOP    = PADDING,
    parameter PAD_LEFT   = PADDING,
    parameter PAD_BOTTOM = PADDING,
    parameter PAD_RIGHT  = PADDING,
    parameter DILATION_H = 1,
    parameter DILATION_W = 1,
    parameter PAD_CODE   = 0,
    parameter LANES      = CHANNELS,  // channels a beat
    parameter WORD       = CHANNELS,  // channels at once: CHANNELS, or a divisor that LANES divides
    parameter REPEATS    = 1          // times that each window is given out
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire [8*LANES-1:0]    s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,
    output wire [8*WORD-1:0]     m_pixel,
    output wire                  m_pixel_last,
    output wire                  m_pixel_valid,
    input  wire                  m_pixel_ready
);

    function integer at_least;
        input integer a, b;
        at_least = (a > b) ? a : b;
    endfunction

    function integer at_most;
        input integer a, b;
        at_most = (a < b) ? a : b;
    endfunction

    function integer index_width;  // bits of a number from 0 to n - 1
        input integer n;
        index_width = (n > 1) ? $clog2(n) : 1;
    endfunction

    localparam SPAN_H      = (KERNEL_H - 1)*DILATION_H + 1;  // rows that a window covers
    localparam SPAN_W      = (KERNEL_W - 1)*DILATION_W + 1;
    localparam OUT_HEIGHT  = (HEIGHT + PAD_TOP + PAD_BOTTOM - SPAN_H) / STRIDE_H + 1;
    localparam OUT_WIDTH   = (WIDTH + PAD_LEFT + PAD_RIGHT - SPAN_W) / STRIDE_W + 1;
    localparam UNUSED_ROWS = (HEIGHT + PAD_TOP + PAD_BOTTOM - SPAN_H) % STRIDE_H;
    localparam ROWS        =
        at_least(SPAN_H + STRIDE_H, 2*SPAN_H - PAD_TOP - PAD_BOTTOM + UNUSED_ROWS);

    localparam WORDS       = CHANNELS / WORD;  // of a pixel
    localparam WORD_BITS   = 8 * WORD;
    localparam ROW_WIDTH   = index_width(ROWS);
    localparam COL_WIDTH   = index_width(WIDTH);
    localparam X_WIDTH     = index_width(WIDTH + at_least(PAD_LEFT, PAD_RIGHT)) + 1;  // signed
    localparam KX_WIDTH    = index_width(KERNEL_W);
    localparam KY_WIDTH    = index_width(KERNEL_H);
    localparam PASS_WIDTH  = index_width(REPEATS);
    localparam PART_WIDTH  = index_width(WORDS);
    localparam SWEEP_WIDTH = index_width(OUT_HEIGHT);
    localparam HELD_WIDTH  = $clog2(ROWS + STRIDE_H + 1) + 1;    // of a number of rows, signed

    generate
        if (PAD_TOP >= SPAN_H || PAD_BOTTOM >= SPAN_H || PAD_LEFT >= SPAN_W || PAD_RIGHT >= SPAN_W)
        begin : gen_bad_padding
            error_PADDING_must_be_less_than_KERNEL error();
        end
    endgenerate

    genvar sweep;

    // ---------------------------------------------------------------- sweeps

    function integer top_row;  // of a sweep, in its image
        input integer number;
        top_row = number*STRIDE_H - PAD_TOP;
    endfunction

    function integer first_row;  // of the image that a sweep wants
        input integer number;
        first_row = at_least(top_row(number), 0);
    endfunction

    // A sweep's entry: which rows of the window are in the image, how many rows must be in memory
    // for it, and how many of them nobody needs after it.
    localparam SWEEP_BITS = KERNEL_H + 2*HELD_WIDTH;

    // Only as many bits of these integers are used as their values need.
    /* verilator lint_off UNUSEDSIGNAL */
    function [SWEEP_BITS-1:0] sweep_word;
        input integer number;
        integer       i, row, needed, unneeded;
        begin
            needed   = at_most(top_row(number) + SPAN_H, HEIGHT) - first_row(number);
            unneeded = ((number == OUT_HEIGHT - 1) ? HEIGHT : first_row(number + 1))
                     - first_row(number);
            for (i = 0; i < KERNEL_H; i = i + 1) begin
                row           = top_row(number) + i*DILATION_H;
                sweep_word[i] = row >= 0 && row < HEIGHT;
            end
            sweep_word[KERNEL_H +: HELD_WIDTH]              = needed[HELD_WIDTH-1:0];
            sweep_word[KERNEL_H + HELD_WIDTH +: HELD_WIDTH] = unneeded[HELD_WIDTH-1:0];
        end
    endfunction
    /* verilator lint_on UNUSEDSIGNAL */

    wire [OUT_HEIGHT*SWEEP_BITS-1:0] sweep_table;

    generate
        for (sweep = 0; sweep < OUT_HEIGHT; sweep = sweep + 1) begin : gen_sweep
            localparam [SWEEP_BITS-1:0] ENTRY = sweep_word(sweep);
            assign sweep_table[sweep*SWEEP_BITS +: SWEEP_BITS] = ENTRY;
        end
    endgenerate

    localparam [SWEEP_WIDTH-1:0] SWEEP_LAST = OUT_HEIGHT[SWEEP_WIDTH-1:0] - 1'b1;

    reg  [SWEEP_WIDTH-1:0] sweep_reg = 0;
    wire                   sweep_last = sweep_reg == SWEEP_LAST;
    wire [KERNEL_H-1:0]    in_image;
    wire [HELD_WIDTH-1:0]  wanted, freed;

    assign {freed, wanted, in_image} = sweep_table[sweep_reg*SWEEP_BITS +: SWEEP_BITS];

    // ---------------------------------------------------------------- reader

    // Rows are stored modulo ROWS. What is above an image is older, and masked.
    localparam TOP_START   = (ROWS - PAD_TOP) % ROWS;
    localparam TOP_STEP    = STRIDE_H % ROWS;
    localparam TOP_TURN    = (HEIGHT - (OUT_HEIGHT - 1)*STRIDE_H + ROWS) % ROWS;
    localparam X_START     = -PAD_LEFT;
    localparam RIGHT_START = SPAN_W - 1 - PAD_LEFT;
    localparam RIGHT_LAST  = RIGHT_START + (OUT_WIDTH - 1)*STRIDE_W;

    reg  [X_WIDTH-1:0]    right_reg = RIGHT_START[X_WIDTH-1:0];  // the window's last column
    reg  [X_WIDTH-1:0]    x_reg     = X_START[X_WIDTH-1:0];      // the pixel's column
    reg  [ROW_WIDTH-1:0]  top_reg   = TOP_START[ROW_WIDTH-1:0];  // where the window's first row is
    reg  [ROW_WIDTH-1:0]  row_reg   = TOP_START[ROW_WIDTH-1:0];  // where the pixel's row is
    reg  [KX_WIDTH-1:0]   kx_reg    = 0;
    reg  [KY_WIDTH-1:0]   ky_reg    = 0;
    reg  [PASS_WIDTH-1:0] pass_reg  = 0;
    reg  [PART_WIDTH-1:0] part_reg  = 0;

    // Complete rows in memory from the sweep's first one on. Negative while that is still to come.
    reg  [HELD_WIDTH-1:0] held_reg = 0;

    wire [COL_WIDTH-1:0]  write_col;  // of the pixel that comes next
    wire                  row_written;

    // A window's last row may still be coming in, if its pixels have passed the window. A window
    // that reaches beyond the right edge waits for the whole row.
    wire [HELD_WIDTH-1:0] missing  = wanted - held_reg;
    wire                  complete = missing[HELD_WIDTH-1] || missing == 0;
    wire                  passed   = {{(X_WIDTH-COL_WIDTH){1'b0}}, write_col} > right_reg;

    assign s_axis_tready = held_reg != ROWS[HELD_WIDTH-1:0];
    assign m_pixel_valid = complete || (missing == 1 && passed);

    localparam [KX_WIDTH-1:0]   KX_LAST   = KERNEL_W[KX_WIDTH-1:0] - 1'b1;
    localparam [KY_WIDTH-1:0]   KY_LAST   = KERNEL_H[KY_WIDTH-1:0] - 1'b1;
    localparam [PASS_WIDTH-1:0] PASS_LAST = REPEATS[PASS_WIDTH-1:0] - 1'b1;
    localparam [PART_WIDTH-1:0] PART_LAST = WORDS[PART_WIDTH-1:0] - 1'b1;
    localparam [ROW_WIDTH-1:0]  ROW_LAST  = ROWS[ROW_WIDTH-1:0] - 1'b1;

    wire read        = m_pixel_valid && m_pixel_ready;
    wire row_done    = kx_reg == KX_LAST;
    wire pass_done   = row_done && ky_reg == KY_LAST;
    wire part_done   = pass_done && pass_reg == PASS_LAST;
    wire window_done = part_done && (WORDS == 1 || part_reg == PART_LAST);
    wire sweep_done  = window_done && right_reg == RIGHT_LAST[X_WIDTH-1:0];

    assign m_pixel_last = sweep_done && sweep_last;

    wire [X_WIDTH-1:0]   right_next = sweep_done ? RIGHT_START[X_WIDTH-1:0]
                                    : window_done ? right_reg + STRIDE_W[X_WIDTH-1:0] : right_reg;
    wire [X_WIDTH-1:0]   left_next  = right_next - (SPAN_W[X_WIDTH-1:0] - 1'b1);
    wire [ROW_WIDTH:0]   moved      = {1'b0, top_reg} + (sweep_last ? TOP_TURN[ROW_WIDTH:0]
                                                                    : TOP_STEP[ROW_WIDTH:0]);
    wire [ROW_WIDTH:0]   wrapped    = moved - ROWS[ROW_WIDTH:0];
    wire [ROW_WIDTH-1:0] top_next   = !sweep_done ? top_reg
                                    : wrapped[ROW_WIDTH] ? moved[ROW_WIDTH-1:0]
                                                         : wrapped[ROW_WIDTH-1:0];

    // Where the next row of the window is.
    wire [ROW_WIDTH-1:0] row_below;

    generate
        if (DILATION_H == 1) begin : gen_next
            assign row_below = (row_reg == ROW_LAST) ? {ROW_WIDTH{1'b0}} : row_reg + 1'b1;
        end else begin : gen_dilated
            localparam [ROW_WIDTH-1:0] DOWN = DILATION_H[ROW_WIDTH-1:0];
            localparam [ROW_WIDTH-1:0] TURN = ROWS[ROW_WIDTH-1:0] - DOWN;
            assign row_below = (row_reg >= TURN) ? row_reg - TURN : row_reg + DOWN;
        end
    endgenerate

    always @(posedge clk) begin
        if (read) begin
            kx_reg    <= row_done ? {KX_WIDTH{1'b0}} : kx_reg + 1'b1;
            x_reg     <= row_done ? left_next : x_reg + DILATION_W[X_WIDTH-1:0];
            right_reg <= right_next;
            top_reg   <= top_next;
            if (row_done) begin
                ky_reg  <= pass_done ? {KY_WIDTH{1'b0}} : ky_reg + 1'b1;
                row_reg <= pass_done ? top_next : row_below;
            end
            if (pass_done)
                pass_reg <= part_done ? {PASS_WIDTH{1'b0}} : pass_reg + 1'b1;
            if (part_done)
                part_reg <= (WORDS == 1 || window_done) ? {PART_WIDTH{1'b0}} : part_reg + 1'b1;
            if (sweep_done)
                sweep_reg <= sweep_last ? {SWEEP_WIDTH{1'b0}} : sweep_reg + 1'b1;
        end
        held_reg <= held_reg - ((read && sweep_done) ? freed : {HELD_WIDTH{1'b0}})
                             + {{(HELD_WIDTH-1){1'b0}}, row_written};
        if (rst) begin
            kx_reg    <= 0;
            x_reg     <= X_START[X_WIDTH-1:0];
            right_reg <= RIGHT_START[X_WIDTH-1:0];
            top_reg   <= TOP_START[ROW_WIDTH-1:0];
            ky_reg    <= 0;
            row_reg   <= TOP_START[ROW_WIDTH-1:0];
            pass_reg  <= 0;
            part_reg  <= 0;
            sweep_reg <= 0;
            held_reg  <= 0;
        end
    end

    // ---------------------------------------------------------------- memory

    wire [WORD_BITS-1:0] pixel;

    pixel_memory #(
        .ROWS(ROWS), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .LANES(LANES), .WORD(WORD),
        .ROW_WIDTH(ROW_WIDTH), .COL_WIDTH(COL_WIDTH), .PART_WIDTH(PART_WIDTH)
    ) memory (
        .clk(clk), .rst(rst),
        .beat(s_axis_tvalid && s_axis_tready), .beat_data(s_axis_tdata),
        .col(write_col), .row_written(row_written),
        .read_row(row_reg), .read_col(x_reg[COL_WIDTH-1:0]), .read_part(part_reg),
        .read_data(pixel)
    );

    generate
        if (PAD_TOP + PAD_LEFT + PAD_BOTTOM + PAD_RIGHT > 0) begin : gen_mask
            reg inside_reg;
            always @(posedge clk)
                inside_reg <= in_image[ky_reg] && x_reg < WIDTH[X_WIDTH-1:0];
            assign m_pixel = inside_reg ? pixel : {WORD{PAD_CODE[7:0]}};
        end else begin : gen_whole
            wire unused = &{1'b0, in_image};
            assign m_pixel = pixel;
        end
    endgenerate

endmodule

`default_nettype wire
