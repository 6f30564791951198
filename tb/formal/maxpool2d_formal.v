// SPDX-License-Identifier: Apache-2.0
//
// A one in an image of zeros is the largest of the windows that cover it, and of no other; results
// come in raster order, each image's last one marked.

`default_nettype none

module maxpool2d_formal #(
    parameter HEIGHT   = 3,
    parameter WIDTH    = 3,
    parameter CHANNELS = 1,
    parameter KERNEL   = 2,
    parameter STRIDE   = 2,
    parameter PADDING  = 0,
    parameter LANES    = CHANNELS,
    parameter PIXELS   = 1,
    parameter LIMIT    = 12,  // clocks, see axis_progress
    parameter MARK_WIDTH = $clog2(PIXELS*LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire                  s_axis_tvalid,
    input wire                  m_axis_tready
);

    localparam OUT_PIXELS = (PIXELS > STRIDE) ? PIXELS / STRIDE : 1;
    localparam OUT_HEIGHT = (HEIGHT + 2*PADDING - KERNEL) / STRIDE + 1;
    localparam STEPS      = ((WIDTH + 2*PADDING - KERNEL) / STRIDE + 1) / OUT_PIXELS;
    localparam BEATS      = (CHANNELS + LANES - 1) / LANES;
    localparam OUT_MOST   = OUT_PIXELS * LANES;

    wire [8*PIXELS*LANES-1:0] s_axis_tdata;
    wire [8*OUT_MOST-1:0]     m_axis_tdata;
    wire                      s_axis_tready, m_axis_tlast, m_axis_tvalid, dyed;
    wire [7:0]                out_row, step, part, y, x, channel;

    maxpool2d #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL(KERNEL), .STRIDE(STRIDE),
        .PADDING(PADDING), .LANES(LANES), .PIXELS(PIXELS)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );

    axis_rules #(.WIDTH(8*OUT_MOST + 1)) rules (
        .clk(clk), .rst(rst), .payload({m_axis_tlast, m_axis_tdata}), .tvalid(m_axis_tvalid),
        .tready(m_axis_tready)
    );
    axis_progress #(.LIMIT(LIMIT)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready)
    );
    axis_pixels #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS),
        .ROWS(OUT_HEIGHT), .COLS(STEPS), .PARTS(BEATS), .LIMIT(LIMIT)
    ) pixels (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready), .m_tlast(m_axis_tlast),
        .m_row(out_row), .m_col(step), .m_part(part),
        .dyed(dyed), .y(y), .x(x), .channel(channel)
    );

    genvar pixel, lane;
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
            // Its window's first row and column in the image, padding added.
            wire [7:0] top  = out_row*STRIDE[7:0];
            wire [7:0] left = (step*OUT_PIXELS[7:0] + pixel)*STRIDE[7:0];
            wire       covers = dyed && y + PADDING >= top && y + PADDING < top + KERNEL
                             && x + PADDING >= left && x + PADDING < left + KERNEL;
            for (lane = 0; lane < LANES; lane = lane + 1) begin : gen_lane
                wire here = covers && channel == part*LANES[7:0] + lane;
                always @* if (m_axis_tvalid)
                    assert (m_axis_tdata[8*(pixel*LANES + lane) +: 8] == {7'd0, here});
            end
        end
    endgenerate

endmodule

`default_nettype wire
