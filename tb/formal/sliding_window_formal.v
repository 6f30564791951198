// SPDX-License-Identifier: Apache-2.0
//
// Every pixel of an image is in the windows that cover it, where they cover it, and nowhere else, and
// so is the padding's code; windows come in raster order, each image's last one marked.

`default_nettype none

module sliding_window_formal #(
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
    parameter PIXELS   = 1,
    parameter PACE     = 1,
    parameter LATE     = 1,
    parameter LIMIT    = 8,  // clocks, see axis_progress
    parameter MARK_WIDTH = $clog2(PIXELS*LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire                  s_axis_tvalid,
    input wire                  m_window_ready
);

    localparam OUT_PIXELS = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1;
    localparam SPAN_H     = (KERNEL_H - 1)*DILATION_H + 1;
    localparam SPAN_W     = (KERNEL_W - 1)*DILATION_W + 1;
    localparam OUT_HEIGHT = (HEIGHT + PAD_TOP + PAD_BOTTOM - SPAN_H) / STRIDE_H + 1;
    localparam STEPS      = ((WIDTH + PAD_LEFT + PAD_RIGHT - SPAN_W) / STRIDE_W + 1) / OUT_PIXELS;
    localparam TAPS       = KERNEL_H * KERNEL_W * CHANNELS;

    wire [8*PIXELS*LANES-1:0]    s_axis_tdata;
    wire [8*OUT_PIXELS*TAPS-1:0] m_window;
    wire [OUT_PIXELS*TAPS-1:0]   m_bits;  // bit 0 of each byte
    wire                         s_axis_tready, m_window_last, m_window_valid, dyed;
    wire [7:0]                   out_row, step, unused_part, y, x, channel;

    sliding_window #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .PAD_CODE(PAD_CODE),
        .LANES(LANES), .PIXELS(PIXELS), .PACE(PACE), .LATE(LATE)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_window(m_window), .m_window_last(m_window_last), .m_window_valid(m_window_valid),
        .m_window_ready(m_window_ready)
    );

    axis_rules #(.WIDTH(OUT_PIXELS*TAPS + 1)) rules (
        .clk(clk), .rst(rst),
        .payload({m_window_last, (LATE != 0) ? {OUT_PIXELS*TAPS{1'b0}} : m_bits}),
        .tvalid(m_window_valid), .tready(m_window_ready)
    );
    axis_progress #(.LIMIT(LIMIT)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_window_valid), .m_tready(m_window_ready)
    );
    axis_pixels #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS),
        .ROWS(OUT_HEIGHT), .COLS(STEPS), .LIMIT(LIMIT)
    ) pixels (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_window_valid), .m_tready(m_window_ready), .m_tlast(m_window_last),
        .m_row(out_row), .m_col(step), .m_part(unused_part),
        .dyed(dyed), .y(y), .x(x), .channel(channel)
    );

    // With LATE, a window is there a clock after it was taken.
    wire        take  = m_window_valid && m_window_ready;
    wire [16:0] place = {dyed, out_row, step};
    reg  [16:0] taken_place;
    reg         taken = 1'b0;
    always @(posedge clk) begin
        taken       <= take && !rst;
        taken_place <= (take && (dyed || PAD_CODE != 0)) ? place : 0;
    end

    wire       there = (LATE != 0) ? taken : m_window_valid;
    wire       there_dyed;
    wire [7:0] there_row, there_step;
    assign {there_dyed, there_row, there_step} = (LATE != 0) ? taken_place : place;

    genvar i, pixel, ky, kx;
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
            for (ky = 0; ky < KERNEL_H; ky = ky + 1) begin : gen_ky
                for (kx = 0; kx < KERNEL_W; kx = kx + 1) begin : gen_kx
                    // Its row and column in the image, padding added.
                    wire [7:0] tap_y = there_row*STRIDE_H[7:0] + ky*DILATION_H;
                    wire [7:0] tap_x = (there_step*OUT_PIXELS[7:0] + pixel)*STRIDE_W[7:0]
                                     + kx*DILATION_W;
                    wire       outside = tap_y < PAD_TOP || tap_y >= PAD_TOP + HEIGHT
                                      || tap_x < PAD_LEFT || tap_x >= PAD_LEFT + WIDTH;
                    for (i = 0; i < CHANNELS; i = i + 1) begin : gen_channel
                        localparam TAP = ((pixel*KERNEL_H + ky)*KERNEL_W + kx)*CHANNELS + i;
                        assign m_bits[TAP] = m_window[8*TAP];
                        always @* if (there)
                            assert (m_bits[TAP] == ((PAD_CODE != 0 && outside)
                                                    || (there_dyed && tap_y == y + PAD_TOP
                                                        && tap_x == x + PAD_LEFT && i == channel)));
                    end
                end
            end
        end
    endgenerate

endmodule

`default_nettype wire
