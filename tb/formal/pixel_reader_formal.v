// SPDX-License-Identifier: Apache-2.0
//
// Every pixel of an image comes where it belongs in the windows that cover it, in each of their
// passes, and nowhere else, and so does the padding's code; windows come in raster order, each image's
// last pixel marked.

`default_nettype none

module pixel_reader_formal #(
    parameter HEIGHT   = 3,
    parameter WIDTH    = 3,
    parameter CHANNELS = 1,
    parameter KERNEL   = 2,
    parameter KERNEL_H = KERNEL,
    parameter KERNEL_W = KERNEL,
    parameter STRIDE   = 1,
    parameter STRIDE_H = STRIDE,
    parameter STRIDE_W = STRIDE,
    parameter PADDING  = 0,
    parameter PAD_TOP  = PADDING,
    parameter PAD_LEFT = PADDING,
    parameter PAD_BOTTOM = PADDING,
    parameter PAD_RIGHT = PADDING,
    parameter DILATION_H = 1,
    parameter DILATION_W = 1,
    parameter PAD_CODE = 0,
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

    localparam SPAN_H     = (KERNEL_H - 1)*DILATION_H + 1;
    localparam SPAN_W     = (KERNEL_W - 1)*DILATION_W + 1;
    localparam OUT_HEIGHT = (HEIGHT + PAD_TOP + PAD_BOTTOM - SPAN_H) / STRIDE_H + 1;
    localparam OUT_WIDTH  = (WIDTH + PAD_LEFT + PAD_RIGHT - SPAN_W) / STRIDE_W + 1;
    localparam TAPS       = KERNEL_H * KERNEL_W;
    localparam LIMIT      = 1;  // clocks, see axis_progress

    wire [8*LANES-1:0]    s_axis_tdata;
    wire [8*CHANNELS-1:0] m_pixel;
    wire                  s_axis_tready, m_pixel_last, m_pixel_valid, dyed;
    wire [7:0]            out_row, out_col, part, y, x, channel;

    pixel_reader #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .PAD_CODE(PAD_CODE),
        .LANES(LANES), .REPEATS(REPEATS)
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
        for (k = 1; k < KERNEL_H; k = k + 1)
            if (tap >= k*KERNEL_W)
                ky = k;
    end

    // Whether it is the dyed one, padding added.
    wire [7:0] tap_y = out_row*STRIDE_H[7:0] + ky*DILATION_H[7:0];
    wire [7:0] tap_x = out_col*STRIDE_W[7:0] + (tap - ky*KERNEL_W[7:0])*DILATION_W[7:0];
    wire       here  = dyed && tap_y == y + PAD_TOP && tap_x == x + PAD_LEFT;
    wire       outside = tap_y < PAD_TOP || tap_y >= PAD_TOP + HEIGHT
                      || tap_x < PAD_LEFT || tap_x >= PAD_LEFT + WIDTH;

    // It is there a clock after it was taken.
    reg       there = 1'b0, there_dyed, there_padded;
    reg [7:0] there_channel;
    always @(posedge clk) begin
        there         <= m_pixel_valid && m_pixel_ready && !rst;
        there_dyed    <= here;
        there_padded  <= PAD_CODE != 0 && outside;
        there_channel <= here ? channel : 0;
    end

    genvar i;
    generate
        for (i = 0; i < CHANNELS; i = i + 1) begin : gen_channel
            always @* if (there)
                assert (m_pixel[8*i] == (there_padded || (there_dyed && there_channel == i)));
        end
    endgenerate

endmodule

`default_nettype wire
