// SPDX-License-Identifier: Apache-2.0
//
// What every pool must do whose streams these are: a one in an image of zeros is the largest value
// and the sum of the windows that cover it, and of no others; results come in raster order, each
// image's last one marked. It drives the data that goes in.

`default_nettype none

module axis_pool #(
    parameter HEIGHT   = 1,
    parameter WIDTH    = 1,
    parameter CHANNELS = 1,
    parameter KERNEL   = 1,
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
    parameter LANES    = 1,
    parameter PIXELS   = 1,
    parameter LIMIT    = 1,      // clocks, see axis_progress
    parameter RESULT_WIDTH = 8,  // bits of a result
    parameter OUT_PIXELS = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1,
    parameter MARK_WIDTH = $clog2(PIXELS*LANES + 1)
) (
    input  wire                                     clk,
    input  wire                                     rst,
    input  wire [MARK_WIDTH-1:0]                    mark,
    output wire [8*PIXELS*LANES-1:0]                s_tdata,
    input  wire                                     s_tvalid,
    input  wire                                     s_tready,
    input  wire [RESULT_WIDTH*OUT_PIXELS*LANES-1:0] m_tdata,
    input  wire                                     m_tlast,
    input  wire                                     m_tvalid,
    input  wire                                     m_tready
);

    localparam OUT_HEIGHT = (HEIGHT + PAD_TOP + PAD_BOTTOM - KERNEL_H) / STRIDE_H + 1;
    localparam STEPS = ((WIDTH + PAD_LEFT + PAD_RIGHT - KERNEL_W) / STRIDE_W + 1) / OUT_PIXELS;
    localparam BEATS      = (CHANNELS + LANES - 1) / LANES;

    wire       dyed;
    wire [7:0] out_row, step, part, y, x, channel;

    axis_rules #(.WIDTH(RESULT_WIDTH*OUT_PIXELS*LANES + 1)) rules (
        .clk(clk), .rst(rst), .payload({m_tlast, m_tdata}), .tvalid(m_tvalid), .tready(m_tready)
    );
    axis_progress #(.LIMIT(LIMIT)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_tvalid), .s_tready(s_tready), .m_tvalid(m_tvalid),
        .m_tready(m_tready)
    );
    axis_pixels #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS),
        .ROWS(OUT_HEIGHT), .COLS(STEPS), .PARTS(BEATS), .LIMIT(LIMIT)
    ) pixels (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_tdata), .s_tvalid(s_tvalid), .s_tready(s_tready),
        .m_tvalid(m_tvalid), .m_tready(m_tready), .m_tlast(m_tlast),
        .m_row(out_row), .m_col(step), .m_part(part),
        .dyed(dyed), .y(y), .x(x), .channel(channel)
    );

    genvar pixel, lane;
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
            // Its window's first row and column in the image, padding added.
            wire [7:0] top  = out_row*STRIDE_H[7:0];
            wire [7:0] left = (step*OUT_PIXELS[7:0] + pixel)*STRIDE_W[7:0];
            wire       covers = dyed && y + PAD_TOP >= top && y + PAD_TOP < top + KERNEL_H
                             && x + PAD_LEFT >= left && x + PAD_LEFT < left + KERNEL_W;
            for (lane = 0; lane < LANES; lane = lane + 1) begin : gen_lane
                wire here = covers && channel == part*LANES[7:0] + lane;
                always @* if (m_tvalid)
                    assert (m_tdata[RESULT_WIDTH*(pixel*LANES + lane) +: RESULT_WIDTH] == here);
            end
        end
    endgenerate

endmodule

`default_nettype wire
