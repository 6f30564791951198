// SPDX-License-Identifier: Apache-2.0
//
// Every pixel of an image comes where it belongs in the windows that cover it, in each of their
// passes, and nowhere else; windows come in raster order, each image's last pixel marked.

`default_nettype none

module pixel_reader_formal #(
    parameter HEIGHT   = 3,
    parameter WIDTH    = 3,
    parameter CHANNELS = 1,
    parameter KERNEL   = 2,
    parameter STRIDE   = 1,
    parameter PADDING  = 0,
    parameter LANES    = CHANNELS,
    parameter REPEATS  = 1,
    parameter MARK_WIDTH = $clog2(LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire                  s_axis_tvalid,
    input wire                  m_pixel_ready
);

    localparam OUT_HEIGHT = (HEIGHT + 2*PADDING - KERNEL) / STRIDE + 1;
    localparam OUT_WIDTH  = (WIDTH + 2*PADDING - KERNEL) / STRIDE + 1;
    localparam TAPS       = KERNEL * KERNEL;
    localparam LIMIT      = 1;  // clocks, see axis_progress

    wire [8*LANES-1:0]    s_axis_tdata;
    wire [8*CHANNELS-1:0] m_pixel;
    wire                  s_axis_tready, m_pixel_last, m_pixel_valid, dyed;
    wire [7:0]            out_row, out_col, part, y, x, channel;

    pixel_reader #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL(KERNEL), .STRIDE(STRIDE),
        .PADDING(PADDING), .LANES(LANES), .REPEATS(REPEATS)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_pixel(m_pixel), .m_pixel_last(m_pixel_last), .m_pixel_valid(m_pixel_valid),
        .m_pixel_ready(m_pixel_ready)
    );

    axis_rules #(.WIDTH(1)) rules (
        .clk(clk), .rst(rst), .payload(m_pixel_last), .tvalid(m_pixel_valid), .tready(m_pixel_ready)
    );
    axis_progress #(.LIMIT(LIMIT)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_pixel_valid), .m_tready(m_pixel_ready)
    );
    axis_pixels #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .LANES(LANES), .ROWS(OUT_HEIGHT),
        .COLS(OUT_WIDTH), .PARTS(REPEATS*TAPS), .LIMIT(LIMIT)
    ) pixels (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_pixel_valid), .m_tready(m_pixel_ready), .m_tlast(m_pixel_last),
        .m_row(out_row), .m_col(out_col), .m_part(part),
        .dyed(dyed), .y(y), .x(x), .channel(channel)
    );

    // Of the pixel that is taken: its row and column in the window. Comparisons are less logic than
    // a division.
    integer   k;
    reg [7:0] tap, ky;
    always @* begin
        tap = part;
        for (k = 1; k < REPEATS; k = k + 1)
            if (part >= k*TAPS)
                tap = part - k*TAPS;
        ky = 0;
        for (k = 1; k < KERNEL; k = k + 1)
            if (tap >= k*KERNEL)
                ky = k;
    end

    // Whether it is the dyed one, padding added.
    wire [7:0] tap_y = out_row*STRIDE[7:0] + ky;
    wire [7:0] tap_x = out_col*STRIDE[7:0] + tap - ky*KERNEL[7:0];
    wire       here  = dyed && tap_y == y + PADDING && tap_x == x + PADDING;

    // It is there a clock after it was taken.
    reg       there = 1'b0, there_dyed;
    reg [7:0] there_channel;
    always @(posedge clk) begin
        there         <= m_pixel_valid && m_pixel_ready && !rst;
        there_dyed    <= here;
        there_channel <= here ? channel : 0;
    end

    genvar i;
    generate
        for (i = 0; i < CHANNELS; i = i + 1) begin : gen_channel
            always @* if (there)
                assert (m_pixel[8*i] == (there_dyed && there_channel == i));
        end
    endgenerate

endmodule

`default_nettype wire
