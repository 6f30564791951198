// SPDX-License-Identifier: Apache-2.0
//
// What every module must do that leaves each item in its place, or repeats it where its pixel becomes
// FACTOR_H x FACTOR_W: a one in an image of zeros comes out there and nowhere else, each image's last
// beat marked. It drives the data that goes in.

`default_nettype none

module axis_places #(
    parameter HEIGHT   = 1,
    parameter WIDTH    = 1,
    parameter CHANNELS = 1,
    parameter LANES    = 1,
    parameter PIXELS   = 1,
    parameter FACTOR_H = 1,
    parameter FACTOR_W = 1,
    parameter NUMBERED = 0,  // 1: it comes out as the number of its channel, from 1 on
    parameter LIMIT    = 1,  // clocks, see axis_progress
    parameter MARK_WIDTH = $clog2(PIXELS*LANES + 1)
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [MARK_WIDTH-1:0]     mark,
    output wire [8*PIXELS*LANES-1:0] s_tdata,
    input  wire                      s_tvalid,
    input  wire                      s_tready,
    input  wire [8*PIXELS*LANES-1:0] m_tdata,
    input  wire                      m_tlast,
    input  wire                      m_tvalid,
    input  wire                      m_tready
);

    localparam BEATS = (CHANNELS + LANES - 1) / LANES;

    wire       dyed;
    wire [7:0] row, step, part, y, x, channel;

    axis_rules #(.WIDTH(8*PIXELS*LANES + 1)) rules (
        .clk(clk), .rst(rst), .payload({m_tlast, m_tdata}), .tvalid(m_tvalid), .tready(m_tready)
    );
    axis_progress #(.LIMIT(LIMIT)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_tvalid), .s_tready(s_tready), .m_tvalid(m_tvalid),
        .m_tready(m_tready)
    );
    axis_pixels #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS),
        .ROWS(HEIGHT*FACTOR_H), .COLS(WIDTH*FACTOR_W/PIXELS), .PARTS(BEATS), .LIMIT(LIMIT)
    ) pixels (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_tdata), .s_tvalid(s_tvalid), .s_tready(s_tready),
        .m_tvalid(m_tvalid), .m_tready(m_tready), .m_tlast(m_tlast),
        .m_row(row), .m_col(step), .m_part(part),
        .dyed(dyed), .y(y), .x(x), .channel(channel)
    );

    genvar pixel, lane;
    generate
        for (pixel = 0; pixel < PIXELS; pixel = pixel + 1) begin : gen_pixel
            wire [7:0] col  = step*PIXELS[7:0] + pixel;
            wire       seen = dyed && row / FACTOR_H == y && col / FACTOR_W == x;
            for (lane = 0; lane < LANES; lane = lane + 1) begin : gen_lane
                wire [7:0] own    = part*LANES[7:0] + lane;
                wire [7:0] number = (NUMBERED != 0) ? own + 1'b1 : 8'd1;
                always @* if (m_tvalid && own < CHANNELS)
                    assert (m_tdata[8*(pixel*LANES + lane) +: 8]
                            == ((seen && channel == own) ? number : 8'd0));
            end
        end
    endgenerate

endmodule

`default_nettype wire
