// SPDX-License-Identifier: Apache-2.0
//
// What every convolution must do, whose streams these are: a one in an image of zeros meets, in each
// window that covers it, the weights of its place there, and in no other window any; sums leave in
// raster order, each image's last beat marked. It drives the data that goes in.
//
// There, output o is bias[o] + w[o][c][ky][kx], which differs for every place. The ROMs are those that
// model/hardware/rom.py makes of
//
//   w[o][c][ky][kx] = 1 + ((o*CHANNELS + c)*KERNEL_H + ky)*KERNEL_W + kx; bias[o] = o
//
// In a depthwise one, output o has but the weights of channel o / MULTIPLIER: CHANNELS is 1 here.

`default_nettype none

module axis_conv #(
    parameter HEIGHT       = 1,
    parameter WIDTH        = 1,
    parameter CHANNELS     = 1,
    parameter OUT_CHANNELS = 1,
    parameter MULTIPLIER   = 0,  // outputs of each channel; 0: every output reads all channels
    parameter KERNEL       = 1,
    parameter KERNEL_H     = KERNEL,
    parameter KERNEL_W     = KERNEL,
    parameter STRIDE       = 1,
    parameter STRIDE_H     = STRIDE,
    parameter STRIDE_W     = STRIDE,
    parameter PADDING      = 0,
    parameter PAD_TOP      = PADDING,
    parameter PAD_LEFT     = PADDING,
    parameter PAD_BOTTOM   = PADDING,
    parameter PAD_RIGHT    = PADDING,
    parameter DILATION_H   = 1,
    parameter DILATION_W   = 1,
    parameter LANES        = 1,
    parameter PE           = 1,
    parameter LIMIT        = 1,  // clocks, see axis_progress
    parameter MARK_WIDTH   = $clog2(LANES + 1)
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire [MARK_WIDTH-1:0] mark,
    output wire [8*LANES-1:0]    s_tdata,
    input  wire                  s_tvalid,
    input  wire                  s_tready,
    input  wire [32*PE-1:0]      m_tdata,
    input  wire                  m_tlast,
    input  wire                  m_tvalid,
    input  wire                  m_tready
);

    localparam SPAN_H     = (KERNEL_H - 1)*DILATION_H + 1;
    localparam SPAN_W     = (KERNEL_W - 1)*DILATION_W + 1;
    localparam OUT_HEIGHT = (HEIGHT + PAD_TOP + PAD_BOTTOM - SPAN_H) / STRIDE_H + 1;
    localparam OUT_WIDTH  = (WIDTH + PAD_LEFT + PAD_RIGHT - SPAN_W) / STRIDE_W + 1;
    localparam GROUPS     = (OUT_CHANNELS + PE - 1) / PE;

    wire       dyed;
    wire [7:0] row, col, group, y, x, channel;

    axis_rules #(.WIDTH(32*PE + 1)) rules (
        .clk(clk), .rst(rst), .payload({m_tlast, m_tdata}), .tvalid(m_tvalid), .tready(m_tready)
    );
    axis_progress #(.LIMIT(LIMIT)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_tvalid), .s_tready(s_tready), .m_tvalid(m_tvalid),
        .m_tready(m_tready)
    );
    axis_pixels #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .LANES(LANES), .ROWS(OUT_HEIGHT),
        .COLS(OUT_WIDTH), .PARTS(GROUPS), .LIMIT(LIMIT)
    ) pixels (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_tdata), .s_tvalid(s_tvalid), .s_tready(s_tready),
        .m_tvalid(m_tvalid), .m_tready(m_tready), .m_tlast(m_tlast),
        .m_row(row), .m_col(col), .m_part(group),
        .dyed(dyed), .y(y), .x(x), .channel(channel)
    );

    // The dyed pixel's row and column in the window; beyond it, also below 0, they are large.
    wire [7:0] below  = y + PAD_TOP[7:0] - row*STRIDE_H[7:0];
    wire [7:0] right  = x + PAD_LEFT[7:0] - col*STRIDE_W[7:0];
    wire       covers = dyed && below < SPAN_H && below % DILATION_H[7:0] == 0
                     && right < SPAN_W && right % DILATION_W[7:0] == 0;
    wire [7:0] ky     = below / DILATION_H[7:0];
    wire [7:0] kx     = right / DILATION_W[7:0];
    wire [7:0] plane  = (MULTIPLIER == 0) ? channel : 8'd0;
    wire [7:0] tap    = (plane*KERNEL_H[7:0] + ky)*KERNEL_W[7:0] + kx;

    localparam [7:0] TAPS = ((MULTIPLIER == 0) ? CHANNELS : 1)*KERNEL_H*KERNEL_W;

    genvar i;
    generate
        for (i = 0; i < PE; i = i + 1) begin : gen_out
            wire [7:0] out    = group*PE[7:0] + i;
            wire [7:0] weight = out*TAPS + tap + 1'b1;
            wire       reads  = MULTIPLIER == 0 || out / ((MULTIPLIER == 0) ? 1 : MULTIPLIER) == channel;
            always @* if (m_tvalid && out < OUT_CHANNELS)
                assert (m_tdata[32*i +: 32] == out + ((covers && reads) ? weight : 8'd0));
        end
    endgenerate

endmodule

`default_nettype wire
